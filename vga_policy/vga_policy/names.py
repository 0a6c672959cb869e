"""Names that commands offer before anything heavy is imported."""

PRESET_NAMES = ("paper", "paper-dinov2", "small", "nano")
ABLATION_NAMES = ("without-pvm", "without-joint-training", "zeroinit-full", "zeroinit-lora", "full-parameter")
TASK_NAMES = ("pick_cube", "press_button", "stack_cube", "grasp_vegetable")
