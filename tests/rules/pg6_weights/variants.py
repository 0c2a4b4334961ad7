"""PG601 to PG634: checkpoints in model folders, and weights that are to be fine-tuned.

The weights of a variant are those of a training with the dataset's own plans as they stand at that moment, but with
other labels; edits after it change what the run would feed them.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plansguard.documents import json_document
from tests.support import checkpoints
from tests.support.variants import Edit, Variant, copy, place, put

CT, MR, CASCADE = "Dataset002_FinetuneCT", "Dataset003_TwoChannelMR", "Dataset005_CascadeCT"
PRETRAINED = "Dataset001_PretrainCT"
PLANS = "preprocessed/nnUNetPlans.json"
RESENC = "preprocessed/nnUNetResEncUNetMPlans.json"
DATASET_JSON = "preprocessed/dataset.json"
LABELS = {"background": 0, "tumour": 1}
MODEL = "results/nnUNetTrainer__nnUNetPlans__3d_fullres"
CHECKPOINT = f"{MODEL}/fold_0/checkpoint_final.pth"
FULLRES = "/configurations/3d_fullres"
NETWORK = f"{FULLRES}/architecture"
WEIGHTS = "checkpoint_final.pth"
WITH = ("-pretrained_weights", WEIGHTS)

Change = Callable[[dict[str, Any], dict[str, Any]], object]


def weights(
    configuration: str = "3d_fullres",
    *,
    of: str = PLANS,
    dataset_json: dict[str, Any] | None = None,
    change: Change = lambda plans, dataset_json: None,
    to: str = WEIGHTS,
    **options: Any,
) -> Edit:
    """Weights at ``to``; ``dataset_json`` are other fields of it, ``change`` edits both documents first."""

    def edit(workspace: Path, dataset: str) -> None:
        plans = json.loads(place(workspace, dataset, of).read_bytes())
        own = json.loads(place(workspace, dataset, DATASET_JSON).read_bytes())
        own.update(labels=LABELS)
        own.update(dataset_json or {})
        change(plans, own)
        path = place(workspace, dataset, to) if to.startswith("results/") else workspace / to
        checkpoints.write(path, plans, own, configuration, **options)

    return edit


def saved(content: Callable[[], Any], to: str = WEIGHTS) -> Edit:
    """Another object that torch saved."""

    def edit(workspace: Path, dataset: str) -> None:
        checkpoints.save(workspace / to, content())

    return edit


def bare() -> Any:
    """Weights without anything around them."""
    storage = checkpoints.Storage("0", "cpu")
    return OrderedDict({"encoder.weight": checkpoints.Zeros((8, 1, 3, 3, 3), storage)})


def shortened(file: str, size: int) -> Edit:
    """The file ends after ``size`` bytes."""
    return lambda workspace, dataset: os.truncate(place(workspace, dataset, file), size)


def rewritten(file: str, content: bytes) -> Edit:
    """Other bytes under its name."""

    def edit(workspace: Path, dataset: str) -> None:
        place(workspace, dataset, file).write_bytes(content)

    return edit


def without_storage(file: str) -> Edit:
    """A zip archive as a repair leaves it that did not find all members."""
    return lambda workspace, dataset: checkpoints.without(place(workspace, dataset, file), "data/0")


def second_channel(name: str) -> Change:
    """One more channel, in dataset.json and in the plans' normalisation."""

    def change(plans: dict[str, Any], dataset_json: dict[str, Any]) -> None:
        dataset_json["channel_names"]["1"] = name

    return change


def beside(file: str, name: str, **changes: Any) -> Edit:
    """A copy of plans under another name, with these fields of 3d_fullres changed."""

    def edit(workspace: Path, dataset: str) -> None:
        plans = json.loads(place(workspace, dataset, file).read_bytes())
        plans["plans_name"] = name
        plans["configurations"]["3d_fullres"].update(changes, data_identifier=f"{name}_3d_fullres")
        place(workspace, dataset, f"preprocessed/{name}.json").write_text(json.dumps(plans, indent=4))

    return edit


def nnssl(path: str = WEIGHTS, network: str | None = None, **info: Any) -> Edit:
    """The plans as nnssl's planner leaves them, with this checkpoint; ``path`` is relative to the workspace."""

    def edit(workspace: Path, dataset: str) -> None:
        file = place(workspace, dataset, PLANS)
        plans = json.loads(file.read_bytes())
        told = {"checkpoint_path": str(workspace / path), "pt_num_in_channels": 1, "pt_used_patchsize": [160] * 3}
        plans["pretrain_info"] = {**told, **info}
        if network is not None:
            plans["configurations"]["3d_fullres"]["architecture"] = {
                "network_class_name": network,
                "arch_kwargs": {},
                "_kw_requires_import": [],
            }
        file.write_text(json.dumps(plans, indent=4))

    return edit


def pretrained(tokens: int = 8000, **adaptation: Any) -> Edit:
    """A checkpoint of nnssl with a positional embedding."""

    def content() -> Any:
        embedding = checkpoints.Zeros((1, tokens, 864), checkpoints.Storage("0", "cpu"))
        plan = {"pretrain_num_input_channels": 1, **adaptation}
        return {"network_weights": OrderedDict({"encoder.eva.pos_embed": embedding}), "nnssl_adaptation_plan": plan}

    return saved(content)


def primus(**info: Any) -> Edit:
    """Plans of nnssl for a Primus."""
    return nnssl(network="PrimusM", **info)


def findings(*found: tuple[str, str, str]) -> frozenset[tuple[str, str, str]]:
    """(code, file, pointer) of each."""
    return frozenset(found)


def fault(
    name: str, code: str, edit: Edit, *more: Edit, twin: tuple[Edit, ...] = (weights(),), at: str = "", file: str = ""
) -> Variant:
    """One finding about weights for Dataset002's 3d_fullres, by default at the checkpoint."""
    return Variant(name, CT, (edit, *more), findings((code, file or WEIGHTS, at)), twin, WITH)


def saw(name: str, pointer: str, value: Any, twin: tuple[Edit, ...] = (weights(),)) -> Variant:
    """The weights were trained with other plans in what no shape shows."""
    return Variant(name, CT, (before(pointer, value),), findings(("PG625", PLANS, FULLRES)), twin, WITH)


def before(pointer: str, value: Any, **options: Any) -> Edit:
    """Weights of plans that had another value there."""

    def change(plans: dict[str, Any], dataset_json: dict[str, Any]) -> None:
        *parents, last = json_document.tokens(pointer)
        target: Any = plans
        for token in parents:
            target = target[int(token) if isinstance(target, list) else token]
        target[int(last) if isinstance(target, list) else last] = value

    return weights(change=change, **options)


def misfit(name: str, code: str, edit: Edit, *more: Edit, dataset: str = CT, **options: Any) -> Variant:
    """Weights that do not load."""
    expected = findings((code, PLANS, options.pop("at", NETWORK)))
    return Variant(name, dataset, (edit, *more), expected, **{"twin": (weights(),), "options": WITH, **options})


VARIANTS: tuple[Variant, ...] = (
    # ----- Checkpoints in model folders
    Variant(
        "checkpoint-cut-short",
        PRETRAINED,
        (shortened(CHECKPOINT, 100_000),),
        findings(("PG601", CHECKPOINT, "")),
        model=MODEL,
    ),
    Variant(
        "checkpoint-is-a-web-page",
        PRETRAINED,
        (rewritten(CHECKPOINT, b"<!DOCTYPE html><title>404</title>"),),
        findings(("PG601", CHECKPOINT, "")),
        model=MODEL,
    ),
    Variant(
        "checkpoint-without-a-storage",
        PRETRAINED,
        (without_storage(CHECKPOINT),),
        findings(("PG602", CHECKPOINT, "")),
        model=MODEL,
    ),
    Variant(
        "checkpoint-from-before-the-plans-were-edited",
        PRETRAINED,
        (put(f"{MODEL}/plans.json", f"{FULLRES}/batch_size", 3),),
        findings(("PG610", CHECKPOINT, "")),
        twin=(put(f"{MODEL}/plans.json", "/configurations/2d/batch_size", 3),),
        model=MODEL,
    ),
    # ----- What a file is
    fault("weights-under-data-parallel", "PG603", weights(prefix="module.")),
    fault("weights-under-compile-under-ddp", "PG603", weights(prefix="module._orig_mod.")),
    Variant(
        "bare-state-dict",
        CT,
        (saved(bare),),
        findings(("PG603", WEIGHTS, ""), ("PG607", WEIGHTS, ""), ("PG623", PLANS, NETWORK)),
        (weights(),),
        (*WITH, "-c", "3d_fullres"),
    ),
    fault("weights-that-run-a-command", "PG604", weights(extra=checkpoints.Named("posix", "system")("true"))),
    fault("weights-from-a-gpu", "PG605", weights(location="cuda:0"), twin=(weights(location="cpu"),)),
    fault("weights-of-an-early-epoch", "PG606", weights(epoch=40), twin=(weights(epoch=1000),)),
    fault(
        "epochs-in-the-name",
        "PG606",
        weights(epoch=249, trainer="nnUNetTrainer_250epochs"),
        twin=(weights(epoch=250, trainer="nnUNetTrainer_250epochs"),),
    ),
    fault(
        "weights-of-an-early-step",
        "PG606",
        weights(epoch=2, trainer="nnUNetTrainer", steps={"trainer": "nnUNetTrainer_900steps", "step": 500}),
        twin=(weights(epoch=4, trainer="nnUNetTrainer", steps={"trainer": "nnUNetTrainer_900steps", "step": 900}),),
    ),
    Variant(
        "best-beside-final",
        CT,
        (weights(), weights(to="checkpoint_best.pth", epoch=990)),
        findings(("PG606", "checkpoint_best.pth", "")),
        (weights(to="checkpoint_best.pth"),),
        ("-pretrained_weights", "checkpoint_best.pth"),
    ),
    fault("weights-without-plans", "PG607", weights(init_args=None, trainer_name=None)),
    fault("trainer-of-somebody", "PG608", weights(trainer="nnUNetTrainer_ofAChallenge")),
    fault("batch-normalisation", "PG609", weights(trainer="nnUNetTrainerBN")),
    # ----- Weights that do not load
    misfit("weights-of-two-channels", "PG621", weights(change=second_channel("PET"))),
    Variant(
        "two-channels-and-another-network",
        CT,
        (weights(of=RESENC, change=second_channel("PET")),),
        findings(("PG620", PLANS, NETWORK), ("PG621", PLANS, NETWORK)),
        (weights(),),
        WITH,
    ),
    misfit(
        "cascade-stage-with-other-labels",
        "PG621",
        weights("3d_cascade_fullres"),
        dataset=CASCADE,
        twin=(weights("3d_cascade_fullres", dataset_json={"labels": {"background": 0, "one": 1, "two": 2}}),),
        at="/configurations/3d_fullres/architecture",
    ),
    misfit(
        "weights-of-slices",
        "PG622",
        weights("2d"),
        options=(*WITH, "-c", "3d_fullres"),
        twin=(weights(),),
    ),
    misfit("other-strides", "PG623", before(f"{NETWORK}/arch_kwargs/strides/4/0", 2)),
    misfit("other-kernels", "PG623", before(f"{NETWORK}/arch_kwargs/kernel_sizes/0/0", 1)),
    misfit("more-features", "PG623", before(f"{NETWORK}/arch_kwargs/features_per_stage/4", 256)),
    misfit(
        "more-convolutions",
        "PG623",
        before(f"{NETWORK}/arch_kwargs/n_conv_per_stage/0", 1),
    ),
    misfit(
        "bias-here",
        "PG623",
        before(f"{NETWORK}/arch_kwargs/conv_bias", False),
    ),
    # ----- Other plans are meant
    Variant(
        "p-forgotten-and-other-spacing",
        CT,
        (
            beside(PLANS, "PretrainPlans", spacing=[3.0, 1.2, 1.2]),
            weights(of="preprocessed/PretrainPlans.json"),
        ),
        findings(("PG624", PLANS, FULLRES), ("PG625", PLANS, FULLRES)),
        (beside(PLANS, "PretrainPlans", batch_size=3), weights()),
        WITH,
    ),
    Variant(
        "p-forgotten-and-residual-encoder",
        CT,
        (weights(of=RESENC),),
        findings(("PG620", PLANS, NETWORK), ("PG624", PLANS, FULLRES)),
        (weights(),),
        WITH,
    ),
    # ----- What the weights saw
    saw("coarser-spacing", f"{FULLRES}/spacing/0", 2.0, twin=(before(f"{FULLRES}/spacing/0", 1.5004),)),
    saw("nearly-the-same-spacing", f"{FULLRES}/spacing/0", 1.6),
    saw("other-normalisation", f"{FULLRES}/normalization_schemes", ["ZScoreNormalization"]),
    saw("mask-for-normalisation", f"{FULLRES}/use_mask_for_norm", [True]),
    saw("clipped-a-little-otherwise", "/foreground_intensity_properties_per_channel/0/percentile_99_5", 130.0),
    saw("other-transpose", "/transpose_forward", [1, 0, 2]),
    saw("other-reader", "/image_reader_writer", "NibabelIO"),
    saw("other-preprocessor", f"{FULLRES}/preprocessor_name", "NoResamplingPreprocessor"),
    saw("other-interpolation", f"{FULLRES}/resampling_fn_data_kwargs/order", 1),
    saw("other-nonlinearity", f"{NETWORK}/arch_kwargs/nonlin", "torch.nn.ReLU"),
    saw("layers-that-are-dropped", f"{NETWORK}/arch_kwargs/n_conv_per_stage/0", 3),
    saw("larger-patch", f"{FULLRES}/patch_size", [64, 64, 64], twin=(before(f"{FULLRES}/batch_size", 7),)),
    Variant(
        "other-channel-name",
        CT,
        (weights(dataset_json={"channel_names": {"0": "CBCT"}}),),
        findings(("PG625", PLANS, FULLRES)),
        (weights(dataset_json={"channel_names": {"0": "ct"}}),),
        WITH,
    ),
    Variant(
        "channels-in-another-order",
        MR,
        (weights(dataset_json={"channel_names": {"0": "T2", "1": "T1"}}),),
        findings(("PG626", DATASET_JSON, "/channel_names")),
        (weights(dataset_json={"channel_names": {"a": "T1", "b": "T2"}}),),
        WITH,
    ),
    # ----- The rest
    Variant(
        "sides-and-no-mirroring",
        CT,
        (
            put(DATASET_JSON, "/labels", {"background": 0, "kidney_left": 1}),
            put("raw/dataset.json", "/labels", {"background": 0, "kidney_left": 1}),
            weights(trainer="nnUNetTrainerNoMirroring", mirroring_axes=None),
        ),
        findings(("PG627", DATASET_JSON, "/labels")),
        (weights(trainer="nnUNetTrainerNoMirroring", mirroring_axes=None),),
        WITH,
    ),
    Variant(
        "sides-and-mirroring-along-some-axes",
        CT,
        (
            put(DATASET_JSON, "/labels", {"background": 0, "left kidney": 1}),
            put("raw/dataset.json", "/labels", {"background": 0, "left kidney": 1}),
            weights(trainer="nnUNetTrainer_onlyMirror01", mirroring_axes=(0, 1)),
        ),
        findings(("PG627", DATASET_JSON, "/labels")),
        (
            put(DATASET_JSON, "/labels", {"background": 0, "left kidney": 1}),
            put("raw/dataset.json", "/labels", {"background": 0, "left kidney": 1}),
            weights(trainer="nnUNetTrainer"),
        ),
        WITH,
    ),
    fault(
        "the-very-same-labels",
        "PG628",
        weights(dataset_json={"labels": {"background": 0, "kidney": 1}}),
        at="/labels",
        file=DATASET_JSON,
    ),
    fault("trained-before", "PG629", weights(), weights(to=CHECKPOINT), at=FULLRES, file=PLANS),
    # ----- nnssl
    Variant(
        "weights-of-nnssl-elsewhere",
        CT,
        (nnssl("gone.pth"),),
        findings(("PG630", PLANS, "/pretrain_info/checkpoint_path")),
        (pretrained(), nnssl()),
    ),
    Variant(
        "ordinary-weights-for-nnssl",
        CT,
        (weights(), nnssl()),
        findings(("PG631", PLANS, "/pretrain_info/checkpoint_path")),
        (pretrained(), nnssl()),
    ),
    Variant(
        "unreadable-weights-for-nnssl",
        CT,
        (pretrained(), lambda workspace, _: os.truncate(workspace / WEIGHTS, 200), nnssl()),
        findings(("PG631", PLANS, "/pretrain_info/checkpoint_path")),
        (pretrained(), nnssl()),
    ),
    Variant(
        "nnssl-plans-trained-from-scratch",
        CT,
        (pretrained(), nnssl(), copy(PLANS, f"{MODEL}/plans.json")),
        findings(("PG632", PLANS, "/pretrain_info")),
        (pretrained(), nnssl(), copy(PLANS, "results/PretrainedTrainer__nnUNetPlans__3d_fullres/plans.json")),
    ),
    Variant(
        "nnssl-weights-of-more-channels",
        CT,
        (pretrained(), nnssl(pt_num_in_channels=2)),
        findings(("PG633", PLANS, "/pretrain_info/pt_num_in_channels")),
        (pretrained(), nnssl(pt_num_in_channels=1)),
    ),
    Variant(
        "nnssl-weights-of-two-channels-for-three",
        MR,
        (pretrained(), nnssl(pt_num_in_channels=3)),
        findings(("PG633", PLANS, "/pretrain_info/pt_num_in_channels")),
        (pretrained(), nnssl(pt_num_in_channels=2)),
    ),
    Variant(
        "patch-not-of-whole-tokens",
        CT,
        (pretrained(), primus(), put(PLANS, f"{FULLRES}/patch_size", [60, 64, 64])),
        findings(("PG634", PLANS, f"{FULLRES}/patch_size")),
        (pretrained(), primus()),
    ),
    Variant(
        "embedding-of-another-patch",
        CT,
        (pretrained(tokens=8000), primus(pt_used_patchsize=[64, 64, 64])),
        findings(("PG634", PLANS, f"{FULLRES}/patch_size")),
        (pretrained(tokens=8000, pretrain_patch_size=[160] * 3), primus(pt_used_patchsize=[64, 64, 64])),
    ),
    Variant(
        "embedding-of-nobody-knows-which-patch",
        CT,
        (pretrained(tokens=8000), primus(pt_used_patchsize=None)),
        findings(("PG634", PLANS, f"{FULLRES}/patch_size")),
        (pretrained(tokens=7 * 8 * 8), primus(pt_used_patchsize=None)),
    ),
)
