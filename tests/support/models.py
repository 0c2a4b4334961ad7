"""Trained models for tests: the fixture's, as a folder, as nnU-Net's export and as other zips."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.support.variants import FIXTURES

CT = "Dataset001_PretrainCT"
MODEL = "nnUNetTrainer__nnUNetPlans__3d_fullres"
FIXTURE = FIXTURES / "workspace" / "nnUNet_results" / CT / MODEL
CHECKPOINT = FIXTURE / "fold_0" / "checkpoint_final.pth"


def pack(path: Path, *models: Path, below: str = CT) -> Path:
    """Write a zip of model folders in the layout of ``nnUNetv2_export_model_to_zip``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for model in models:
            for file in sorted(model.rglob("*")):
                if file.is_file():
                    archive.write(file, "/".join(filter(None, (below, model.name, str(file.relative_to(model))))))
    return path


def stored(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write a zip of these members."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def copy_of_model(parent: Path, name: str = MODEL) -> Path:
    """Copy the fixture's model folder."""
    return Path(shutil.copytree(FIXTURE, parent / name))


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file in place, written as nnU-Net writes it."""
    value = json.loads(path.read_bytes())
    change(value)
    path.write_text(json.dumps(value, indent=4))


def doctored(path: Path, *changes: tuple[str, str], source: Path = CHECKPOINT) -> Path:
    """Return the fixture's checkpoint with other strings in its pickle, and without its storages."""
    with zipfile.ZipFile(source) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
        pickle = archive.read(name)
    for old, new in changes:
        assert _text(old) in pickle
        pickle = pickle.replace(_text(old), _text(new))
    return stored(path, {name: pickle})


def _text(value: str) -> bytes:
    """Return a string in pickle protocol 2."""
    raw = value.encode()
    return b"X" + len(raw).to_bytes(4, "little") + raw


#: Kind of checkpoint -> function that makes it from nnU-Net's.
KINDS = {
    "nnunet-v1": (("network_weights", "state_dict"), ("logging", "plot_stuff")),
    "nnssl": (("init_args", "nnssl_adaptation_plan"),),
    "state-dict": (("network_weights", "state_dict"),),
}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def spoiled(draw: st.DrawFn, name: str) -> bytes:
    """Return a document of the fixture's model with some values replaced at random."""
    document = json.loads((FIXTURE / name).read_bytes())
    for _ in range(draw(st.integers(1, 3))):
        at = document
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if not isinstance(at[key], (dict, list)) or draw(st.booleans()):
                at[key] = draw(JSON)
                break
            at = at[key]
    return json.dumps(document).encode()
