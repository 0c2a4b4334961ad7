"""Demonstrate fine-tuning from the zip of a released model: its contents, what fits it, which plans must move.

As demo.py, with the model of Dataset001 packed as ``nnUNetv2_export_model_to_zip`` packs it. Needs the light package
only.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import stage

MODEL = Path("nnUNet_results/Dataset001_PretrainCT/nnUNetTrainer__nnUNetPlans__3d_fullres")


def main() -> None:
    """Run the commands; each must end with the stated exit code."""
    stage.enter()
    receive()
    stage.say("A colleague has sent model.zip. What is it?")
    stage.plansguard("show model.zip", expect=0)
    stage.say("Does one of our datasets fit its weights as it is?")
    stage.plansguard("fit checkpoint_final.pth -d 2 -d 3", expect=1)
    stage.say("Dataset002 needs the plans of the weights. They are read from the zip; nothing is unpacked.")
    stage.plansguard("migrate -s model.zip -t 2 -tp PretrainPlans", expect=0)
    stage.say("Would this training be valid? Yes, once the data are preprocessed with these plans.")
    stage.plansguard("check -d 2 -p PretrainPlans -pretrained_weights checkpoint_final.pth", expect=0)
    stage.say("Without -p, nnU-Net would use nnUNetPlans:")
    stage.plansguard("check -d 2 -pretrained_weights checkpoint_final.pth", expect=1)
    stage.say("The plans alone:")
    stage.plansguard("extract checkpoint_final.pth -o plans.json", expect=0)
    stage.leave()


def receive() -> None:
    """Pack the model, copy its checkpoint beside the zip, and delete the dataset it came from."""
    with zipfile.ZipFile("model.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(MODEL.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to("nnUNet_results"))
    shutil.copy(MODEL / "fold_0/checkpoint_final.pth", ".")
    for folder in stage.FOLDERS:
        shutil.rmtree(f"{folder}/Dataset001_PretrainCT")


if __name__ == "__main__":
    main()
