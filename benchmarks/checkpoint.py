"""Compare reading a checkpoint with torch.load of the same file, as whole processes.

The file is made with torch: weights and momentum of 31 million parameters, as nnU-Net saves them, about 250 MB. Both
sides alternate; the figures are medians, and the memory is the peak reported by the operating system.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from memory import OWN_PEAK

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 7
LIMIT = 1 / 10
MEMORY_LIMIT = 80  # MiB
LAYERS, WIDTH = 31, 1_000_000

#: What nnUNetTrainer.save_checkpoint stores, with one wide layer after another in place of a network.
WRITE = f"""
import sys, torch
torch.save({{
    "network_weights": {{f"encoder.stages.{{layer}}.weight": torch.randn({WIDTH}) for layer in range({LAYERS})}},
    "optimizer_state": {{
        "state": {{layer: {{"momentum_buffer": torch.randn({WIDTH})}} for layer in range({LAYERS})}},
        "param_groups": [{{"lr": 0.01, "params": list(range({LAYERS}))}}],
    }},
    "current_epoch": 1000,
    "init_args": {{"plans": {{}}, "configuration": "3d_fullres", "fold": 0, "dataset_json": {{}}}},
    "trainer_name": "nnUNetTrainer",
}}, sys.argv[1])
"""
OURS = """
import sys
from pathlib import Path
from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint
assert len(read_checkpoint(Path(sys.argv[1])).parameters) == 31
print(OWN_PEAK)
""".replace("OWN_PEAK", OWN_PEAK)
THEIRS = """
import sys, torch
assert len(torch.load(sys.argv[1], map_location="cpu", weights_only=False)["network_weights"]) == 31
print(OWN_PEAK)
""".replace("OWN_PEAK", OWN_PEAK)


def table() -> tuple[list[str], bool]:
    """Return lines of Markdown, and whether both figures are within their limits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint_final.pth"
        subprocess.run([sys.executable, "-c", WRITE, str(path)], check=True)
        size = path.stat().st_size / 1e6
        times: tuple[list[float], list[float]] = ([], [])
        memory = [0.0, 0.0]
        for round_number in range(ROUNDS + 1):  # the first round only warms up
            for side, script in enumerate((OURS, THEIRS)):
                taken, peak = run(script, path)
                memory[side] = max(memory[side], peak)
                if round_number:
                    times[side].append(taken)
    ours, theirs = (statistics.median(record) * 1000 for record in times)
    fine = ours / theirs <= LIMIT and memory[0] <= MEMORY_LIMIT
    return [
        "| a checkpoint of | ours (ms) | torch.load (ms) | ratio | limit | our peak (MiB) | limit | torch's (MiB) |",
        "|---|---|---|---|---|---|---|---|",
        f"| {size:.0f} MB | {ours:.0f} | {theirs:.0f} | {ours / theirs:.3f} | {LIMIT:.2f} | {memory[0]:.0f} | "
        f"{MEMORY_LIMIT} | {memory[1]:.0f} |",
    ], fine


def run(script: str, path: Path) -> tuple[float, float]:
    """Return the seconds and peak MiB of a process; it must succeed."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start, int(done.stdout) / 1024
