"""Names that commands offer before anything heavy is imported."""

PRESET_NAMES = ("paper", "paper-dinov2", "small", "nano")
ABLATION_NAMES = ("without-pvm", "without-joint-training", "zeroinit-full", "zeroinit-lora", "full-parameter")
TASK_NAMES = ("pick_cube", "press_button", "stack_cube", "grasp_vegetable")

TEXT_ENCODER_CLASSES = {  # module and class in vga_policy.text
    "hashed_ngrams": "encoder:HashedNgrams",
    "minilm": "pretrained:MiniLM",
    "qwen_gte": "pretrained:QwenGTE",
}
TEXT_ENCODER_NAMES = tuple(TEXT_ENCODER_CLASSES)
