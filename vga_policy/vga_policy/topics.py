"""Names of the graph: its nodes, topics, services and actions.

Names are relative: the namespace that a node runs in holds one whole robot, so that two robots share one graph.
`CLOCK` and `DIAGNOSTICS` are absolute, for ROS has one of each for everybody; so are /rosout and /parameter_events.
Bags and cell files name a topic as it is in the root namespace, whichever robot it is of: :func:`absolute`.
Their QoS: :mod:`vga_policy.ros.topics`.
"""

from __future__ import annotations

CLOCK = "/clock"
DIAGNOSTICS = "/diagnostics"
OF_ROS = (CLOCK, "/parameter_events", "/rosout")
GLOBAL = (*OF_ROS, DIAGNOSTICS)

JOINT_STATES = "joint_states"

ROBOT_STATE_PUBLISHER = "robot_state_publisher"  # apt's, or where there is none ours
ROBOT_DESCRIPTION = "robot_description"
TF = "tf"  # relative, as all that is of one robot
TF_STATIC = "tf_static"

DRIVER = "franka_driver"
DRIVER_REFERENCE = f"{DRIVER}/reference"
DRIVER_STATE = f"{DRIVER}/state"
DRIVER_CHUNK_VERDICT = f"{DRIVER}/chunk_verdict"
DRIVER_GRIPPER_STATE = f"{DRIVER}/gripper_state"
DRIVER_SET_MODE = f"{DRIVER}/set_mode"
DRIVER_STOP = f"{DRIVER}/stop"
DRIVER_OPEN_HAND = f"{DRIVER}/open_hand"
DRIVER_HOME = f"{DRIVER}/home"
DRIVER_RECOVER = f"{DRIVER}/recover"
DRIVER_GRIPPER_HOMING = f"{DRIVER}/gripper_homing"
DRIVER_GET_PARAMETERS = f"{DRIVER}/get_parameters"

POLICY = "policy"
POLICY_ACTION_CHUNK = f"{POLICY}/action_chunk"
POLICY_HEARTBEAT = f"{POLICY}/heartbeat"
POLICY_RUN_TASK = f"{POLICY}/run_task"
POLICY_GET_PARAMETERS = f"{POLICY}/get_parameters"
POLICY_REHEARSAL_MS = "rehearsal_ms"  # what a control cycle takes at best: in the diagnostics of its inference

RECORDER = "recorder"
RECORDER_STATE = f"{RECORDER}/state"
RECORDER_START = f"{RECORDER}/start"
RECORDER_STOP = f"{RECORDER}/stop"
RECORDER_DISCARD = f"{RECORDER}/discard"
RECORDER_SET_PARAMETERS = f"{RECORDER}/set_parameters"
RECORDER_GET_PARAMETERS = f"{RECORDER}/get_parameters"

SIM_CELL = "sim_cell"
SIM_CELL_TASK_STATE = f"{SIM_CELL}/task_state"
SIM_CELL_ARRANGE = f"{SIM_CELL}/arrange"

GELLO = "gello"
GELLO_JOINT_STATES = f"{GELLO}/joint_states"

SIM_LEADER = "sim_leader"
SIM_LEADER_JOY = f"{SIM_LEADER}/joy"

REPLAY = "replay"
REPLAY_PAUSE = f"{REPLAY}/pause"

CAMERAS = "cameras"  # the namespace of the camera nodes, each called as its camera


class CameraTopics:
    """Topics of one camera, below its node's name `base`.

    image, info: as the color sensor takes them; compressed: the image as JPEG. depth, depth_info: in the color
    image's pixels; compressed_depth: the depth as PNG. pose: of the camera, recorded in simulation.
    """

    def __init__(self, base: str) -> None:
        color, depth = f"{base}/color", f"{base}/aligned_depth_to_color"
        self.image = f"{color}/image_raw"
        self.compressed = f"{self.image}/compressed"
        self.info = f"{color}/camera_info"
        self.depth = f"{depth}/image_raw"
        self.compressed_depth = f"{self.depth}/compressedDepth"
        self.depth_info = f"{depth}/camera_info"
        self.pose = f"{base}/pose"


OWN_CAMERA = CameraTopics("~")  # a camera's topics, as its own node names them


def camera(name: str) -> CameraTopics:
    """Topics of the camera called `name`."""
    return CameraTopics(f"{CAMERAS}/{name}")


def absolute(name: str) -> str:
    """The name in the root namespace: what bags, cell files and remedies say."""
    return name if name.startswith("/") else f"/{name}"


def relative(topic: str) -> str:
    """The name in the graph of a topic of a bag or a cell file; `absolute` gives it back."""
    return topic if topic in GLOBAL else topic.removeprefix("/")
