"""The backbone's and heads' parts against slow formulations that share no code with them."""

import cmath
import math

import pytest
import torch
from support.models import seeded_state, seeded_tensor
from vga_policy.model.backbone.attention import Block, CrossAttention, Group, SelfAttention
from vga_policy.model.backbone.patches import grid_positions
from vga_policy.model.backbone.rope import patch_positions, rope_table, rotate
from vga_policy.model.geometry.pose import (
    decode_cameras,
    encode_cameras,
    quaternion_to_rotation,
    rotation_to_quaternion,
)
from vga_policy.model.heads.camera_head import CameraHeadConfig
from vga_policy.model.heads.depth_head import DepthHeadConfig, FusionBlock, ResidualUnit, add_position


def seeded(module):
    module.load_state_dict(seeded_state(module))
    return module.double()


def softmax_attention(q, k, v):
    """Loops over heads and queries; q [N, heads, d], k and v [M, heads, d]."""
    out = torch.zeros_like(q)
    for head in range(q.shape[1]):
        for i in range(len(q)):
            scores = torch.stack([q[i, head] @ k[j, head] for j in range(len(k))]) / math.sqrt(q.shape[-1])
            weights = torch.exp(scores - scores.max())
            out[i, head] = (weights / weights.sum()) @ v[:, head]
    return out


def layer_norm(x, weight=None, bias=None, eps=1e-5):
    centered = x - x.mean(-1, keepdim=True)
    normal = centered / torch.sqrt((centered * centered).mean(-1, keepdim=True) + eps)
    return normal if weight is None else normal * weight + bias


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def test_rope_turns_planes_of_complex_numbers():
    rows, columns, head_dim = 2, 3, 16
    positions = torch.cat([torch.zeros(1, 2), patch_positions(rows, columns, torch.device("cpu"))])
    x = seeded_tensor("rope", (1, 1 + rows * columns, 2, head_dim)).double()
    turned = rotate(x, rope_table(positions, head_dim))
    for token in range(1 + rows * columns):
        place = (0, 0) if token == 0 else ((token - 1) // columns + 1, (token - 1) % columns + 1)
        for head in range(2):
            for axis in range(2):
                for plane in range(head_dim // 4):
                    real = axis * head_dim // 2 + plane
                    imaginary = real + head_dim // 4
                    z = complex(x[0, token, head, real], x[0, token, head, imaginary])
                    z *= cmath.exp(1j * place[axis] * 100 ** (-2 * plane / (head_dim // 2)))
                    assert turned[0, token, head, real].item() == pytest.approx(z.real, abs=1e-6)
                    assert turned[0, token, head, imaginary].item() == pytest.approx(z.imag, abs=1e-6)


def test_rope_makes_attention_depend_on_distance_alone():
    q, k = (seeded_tensor(name, (1, 1, 1, 16)) for name in "qk")

    def score(at_q, at_k):
        return (rotate(q, rope_table(torch.tensor([at_q]), 16)) * rotate(k, rope_table(torch.tensor([at_k]), 16))).sum()

    torch.testing.assert_close(score((1.0, 2.0), (4.0, 3.0)), score((11.0, 7.0), (14.0, 8.0)))


def test_block_equals_the_loop():
    block = seeded(Block(8, 2, qk_norm=True))
    x = seeded_tensor("x", (1, 5, 8)).double()
    parameters = dict(block.named_parameters())
    normal = layer_norm(x[0], parameters["norm1.weight"], parameters["norm1.bias"])
    q, k, v = (normal @ block.attn.qkv.weight.T + block.attn.qkv.bias).view(5, 3, 2, 4).unbind(1)
    q = layer_norm(q, parameters["attn.q_norm.weight"], parameters["attn.q_norm.bias"])
    k = layer_norm(k, parameters["attn.k_norm.weight"], parameters["attn.k_norm.bias"])
    attended = softmax_attention(q, k, v).reshape(5, 8) @ block.attn.proj.weight.T + block.attn.proj.bias
    y = x[0] + attended * block.ls1.gamma
    hidden = layer_norm(y, parameters["norm2.weight"], parameters["norm2.bias"])
    hidden = gelu(hidden @ block.mlp.fc1.weight.T + block.mlp.fc1.bias) @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
    torch.testing.assert_close(block(x)[0], y + hidden * block.ls2.gamma)


def test_groups_see_only_themselves():
    attention = seeded(SelfAttention(8, 2))
    x = seeded_tensor("x", (2, 9, 8)).double()
    groups = [Group(0, 2, 3), Group(6, 1, 1), Group(7, 1, 2)]
    separate = [attention(x[:, a:b]) for a, b in ((0, 3), (3, 6), (6, 7), (7, 9))]
    torch.testing.assert_close(attention(x, groups=groups), torch.cat(separate, dim=1))


def test_cross_attention_equals_the_loop():
    cross = seeded(CrossAttention(8, 2))
    x, context = seeded_tensor("x", (1, 3, 8)).double(), seeded_tensor("context", (1, 5, 8)).double()
    q = (x[0] @ cross.q.weight.T + cross.q.bias).view(3, 2, 4)
    k, v = (context[0] @ cross.kv.weight.T + cross.kv.bias).view(5, 2, 2, 4).unbind(1)
    expected = softmax_attention(q, k, v).reshape(3, 8) @ cross.proj.weight.T + cross.proj.bias
    torch.testing.assert_close(cross(x, context)[0], expected)


def test_positions_are_resized_like_an_image():
    """A plane of values keeps its slope away from the border, whatever the new size."""
    side = 8
    plane = torch.arange(float(side)).repeat(side, 1).reshape(1, side * side, 1)
    resized = grid_positions(plane, side, 4, 16).view(4, 16)
    centers = (torch.arange(16) + 0.5) * side / 16 - 0.5
    torch.testing.assert_close(resized[0, 4:12], centers[4:12], atol=0.05, rtol=0)
    assert grid_positions(plane, side, side, side) is plane


def test_camera_head_equals_the_refinement_written_out():
    head = seeded(CameraHeadConfig(depth=2, heads=2, rounds=3).build(16))
    with torch.no_grad():
        head.empty_pose_tokens.copy_(seeded_tensor("empty", (1, 1, 9)))
    tokens = seeded_tensor("tokens", (2, 3, 16)).double()
    normal = layer_norm(tokens, head.token_norm.weight, head.token_norm.bias)
    modulation, branch = head.poseLN_modulation[1], head.pose_branch
    pose = None
    for predicted in head(tokens):
        given = head.empty_pose_tokens.expand(2, 3, 9) if pose is None else pose
        embedded = given @ head.embed_pose.weight.T + head.embed_pose.bias
        silu = embedded / (1 + torch.exp(-embedded))
        shift, scale, gate = (silu @ modulation.weight.T + modulation.bias).split(16, dim=-1)
        x = gate * (layer_norm(normal, eps=1e-6) * (1 + scale) + shift) + normal
        for block in head.trunk:
            x = block(x)
        x = layer_norm(x, head.trunk_norm.weight, head.trunk_norm.bias)
        x = gelu(x @ branch.fc1.weight.T + branch.fc1.bias) @ branch.fc2.weight.T + branch.fc2.bias
        pose = x if pose is None else pose + x
        torch.testing.assert_close(predicted[..., :7], pose[..., :7])
        torch.testing.assert_close(predicted[..., 7:], pose[..., 7:].clamp(min=0))


def test_a_refinement_does_not_learn_through_the_one_before():
    head = seeded(CameraHeadConfig(depth=1, heads=2, rounds=2).build(16))
    head(seeded_tensor("tokens", (1, 2, 16)).double())[-1].sum().backward()
    assert not head.empty_pose_tokens.grad


def convolve(x, weight, bias=None):
    """3 x 3, stride 1, zero padding, with loops; x [C, H, W]."""
    height, width = x.shape[1:]
    out = torch.zeros(len(weight), height, width, dtype=x.dtype)
    for row in range(height):
        for column in range(width):
            for i in range(3):
                for j in range(3):
                    r, c = row + i - 1, column + j - 1
                    if 0 <= r < height and 0 <= c < width:
                        out[:, row, column] += weight[:, :, i, j] @ x[:, r, c]
    return out if bias is None else out + bias[:, None, None]


def interpolate(x, size):
    """Bilinear with aligned corners, with loops; x [C, H, W]."""
    height, width = x.shape[1:]
    out = torch.zeros(len(x), *size, dtype=x.dtype)
    for row in range(size[0]):
        for column in range(size[1]):
            r = row * (height - 1) / (size[0] - 1)
            c = column * (width - 1) / (size[1] - 1)
            r0, c0 = min(int(r), height - 2), min(int(c), width - 2)
            a, b = r - r0, c - c0
            top = (1 - b) * x[:, r0, c0] + b * x[:, r0, c0 + 1]
            bottom = (1 - b) * x[:, r0 + 1, c0] + b * x[:, r0 + 1, c0 + 1]
            out[:, row, column] = (1 - a) * top + a * bottom
    return out


def residual(unit, x):
    x = x.clamp(min=0)
    inner = convolve(x, unit.conv1.weight, unit.conv1.bias).clamp(min=0)
    return x + convolve(inner, unit.conv2.weight, unit.conv2.bias)


def test_residual_units_add_the_rectified_input():
    unit = seeded(ResidualUnit(4))
    x = seeded_tensor("x", (1, 4, 3, 5)).double() * 3
    torch.testing.assert_close(unit(x)[0], residual(unit, x[0]))


def test_fusion_equals_the_loop():
    block = seeded(FusionBlock(4))
    coarse, fine = seeded_tensor("coarse", (1, 4, 3, 2)).double(), seeded_tensor("fine", (1, 4, 3, 2)).double()
    fused = residual(block.resConfUnit2, coarse[0] + residual(block.resConfUnit1, fine[0]))
    resized = interpolate(fused, (6, 4))
    expected = torch.einsum("oi,ihw->ohw", block.out_conv.weight[:, :, 0, 0], resized)
    torch.testing.assert_close(block(coarse, fine, (6, 4))[0], expected + block.out_conv.bias[:, None, None])


def test_position_embedding_of_maps():
    channels, height, width, aspect = 8, 2, 3, 1.5
    embedded = add_position(torch.zeros(1, channels, height, width), aspect)[0]
    diagonal = math.sqrt(aspect**2 + 1)
    for row in range(height):
        for column in range(width):
            u = (2 * column + 1 - width) / width * aspect / diagonal
            v = (2 * row + 1 - height) / height / diagonal
            for i in range(channels // 4):
                omega = 100 ** (-i / (channels // 4))
                expected = [math.sin(u * omega), math.cos(u * omega), math.sin(v * omega), math.cos(v * omega)]
                found = embedded[[i, i + 2, i + 4, i + 6], row, column]
                torch.testing.assert_close(found, 0.1 * torch.tensor(expected))


def test_depth_and_confidence_are_positive_and_of_the_images_size():
    head = DepthHeadConfig(channels=(4, 8, 8, 8), features=8, last=4).build(16)
    depth, confidence = head([seeded_tensor(f"{i}", (2, 6, 16)) for i in range(4)], (28, 42))
    assert depth.shape == confidence.shape == (2, 28, 42)
    assert depth.min() > 0
    assert confidence.min() > 1


@pytest.mark.parametrize(("depth", "layers"), [(24, (4, 11, 17, 23)), (12, (2, 5, 8, 11)), (4, (0, 1, 2, 3))])
def test_depth_layers_are_spaced_as_vggts(depth, layers):
    assert DepthHeadConfig().layers_of(depth) == layers


def random_rotations(count):
    skew = seeded_tensor("axes", (count, 3)).double() * 3
    x, y, z = skew.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return torch.linalg.matrix_exp(torch.stack(rows, dim=-1).view(-1, 3, 3))


def test_quaternions_turn_vectors_as_their_matrices_do():
    rotations = random_rotations(200)
    quaternions = rotation_to_quaternion(rotations)
    vector = torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64)
    axis, w = quaternions[:, :3], quaternions[:, 3:]
    cross = torch.linalg.cross(axis, vector.expand_as(axis))
    turned = vector + 2 * (w * cross + torch.linalg.cross(axis, cross))
    torch.testing.assert_close(turned, rotations @ vector)
    assert quaternions[:, 3].min() >= 0
    torch.testing.assert_close(quaternions.norm(dim=-1), torch.ones(200, dtype=torch.float64))
    torch.testing.assert_close(quaternion_to_rotation(-3 * quaternions), rotations)


@pytest.mark.parametrize("signs", [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)])
def test_half_turns_have_well_conditioned_quaternions(signs):
    rotation = torch.diag(torch.tensor(signs, dtype=torch.float64))
    torch.testing.assert_close(quaternion_to_rotation(rotation_to_quaternion(rotation)), rotation)


def test_cameras_survive_encoding_and_see_the_same_pixels():
    size = (48, 64)
    rotations = random_rotations(6).view(2, 3, 3, 3)
    extrinsics = torch.cat([rotations, seeded_tensor("t", (2, 3, 3, 1)).double()], dim=-1)
    intrinsics = torch.tensor([[70.0, 0, 32], [0, 55, 24], [0, 0, 1]], dtype=torch.float64).expand(2, 3, 3, 3)
    encoding = encode_cameras(extrinsics, intrinsics, size)
    assert encoding.shape == (2, 3, 9)
    assert encoding[0, 0, 8].item() == pytest.approx(2 * math.atan(32 / 70))
    decoded_extrinsics, decoded_intrinsics = decode_cameras(encoding, size)
    torch.testing.assert_close(decoded_extrinsics, extrinsics)
    torch.testing.assert_close(decoded_intrinsics, intrinsics)
