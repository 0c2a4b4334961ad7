"""Demonstrate the whole road: pretrain on one dataset, fine-tune on another, with the real nnU-Net, on the CPU.

As demo.py, and needs plansguard[train]. It takes a few minutes.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import stage

PRETRAINING, FINETUNING = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
PRETRAINED = f"nnUNet_results/{PRETRAINING}/nnUNetTrainer_60steps_30per_5val__SmallPlans__3d_fullres/fold_0"
TRAINED = f"nnUNet_results/{FINETUNING}/nnUNetTrainer_80steps_20per_5val_lr5en3__PretrainPlans__3d_fullres/fold_0"
WEIGHTS = f"-pretrained_weights {PRETRAINED}/checkpoint_final.pth"
SCHEDULE = "--steps 80 --per-epoch 20 --validation 5 --lr 0.005 --portable -device cpu"


def main() -> None:
    """Run the commands; each must end with the stated exit code."""
    stage.enter()
    stage.use_processor()
    stage.say("SmallPlans: the pretraining dataset's nnUNetPlans with a small patch and network, for the CPU.")
    make_small(Path(f"nnUNet_preprocessed/{PRETRAINING}/nnUNetPlans.json"))
    stage.say("Pretrain, for exactly 60 steps.")
    stage.plansguard("preprocess -d 1 -p SmallPlans -c 3d_fullres -np 1 --yes", expect=0)
    stage.plansguard(
        "train 1 3d_fullres 0 -p SmallPlans --steps 60 --per-epoch 30 --validation 5 -device cpu", expect=0
    )
    stage.say("Move the plans to the fine-tuning dataset, and preprocess it with them.")
    stage.plansguard("migrate -s 1 -t 2 -sp SmallPlans -tp PretrainPlans", expect=0)
    stage.plansguard("preprocess -d 2 -p PretrainPlans -c 3d_fullres -np 1 --yes", expect=0)
    stage.plansguard(f"check -d 2 -p PretrainPlans -c 3d_fullres {WEIGHTS}", expect=0)
    stage.say("A training without -p: refused before torch is loaded.")
    stage.plansguard(f"train 2 3d_fullres 0 {SCHEDULE} {WEIGHTS}", expect=1)
    stage.say("With -p. The time limit is short, so the training stops with a checkpoint and is continued.")
    stage.plansguard(f"train 2 3d_fullres 0 -p PretrainPlans {SCHEDULE} {WEIGHTS} --max-time 3s", expect=75)
    stage.plansguard(f"train 2 3d_fullres 0 -p PretrainPlans {SCHEDULE} --c", expect=0)
    stage.say("Is what was checked before the training still valid?")
    stage.plansguard(f"verify-receipt {TRAINED}", expect=0)
    stage.say("Predict, with nnU-Net's own command.")
    Path("images").mkdir()
    shutil.copy(f"nnUNet_raw/{FINETUNING}/imagesTr/fine_000_0000.nii.gz", "images")
    stage.nnunet(
        f"nnUNetv2_predict -i images -o predicted -d 2 -c 3d_fullres -f 0 -p PretrainPlans "
        f"-tr {Path(TRAINED).parent.name.partition('__')[0]} -device cpu -npp 1 -nps 1"
    )
    stage.leave()


def make_small(plans: Path) -> None:
    """Write SmallPlans.json beside ``plans``: voxels twice as wide, small patches, three stages of few features.

    With large patches such a network may predict only background for a hundred steps.
    """
    value = json.loads(plans.read_bytes())
    configuration = value["configurations"]["3d_fullres"]
    configuration.update(
        spacing=[2.5, 1.6, 1.6],
        median_image_size_in_voxels=[32, 48, 48],
        patch_size=[16, 32, 32],
        batch_size=4,
        data_identifier="SmallPlans_3d_fullres",
    )
    kwargs = configuration["architecture"]["arch_kwargs"]
    kwargs.update(
        n_stages=3, features_per_stage=[8, 16, 32], n_conv_per_stage=[1] * 3, n_conv_per_stage_decoder=[1] * 2
    )
    kwargs.update(kernel_sizes=[[3, 3, 3]] * 3, strides=[[1, 1, 1], [2, 2, 2], [2, 2, 2]])
    value.update(plans_name="SmallPlans", configurations={"3d_fullres": configuration})
    plans.with_name("SmallPlans.json").write_text(json.dumps(value, indent=4))


if __name__ == "__main__":
    main()
