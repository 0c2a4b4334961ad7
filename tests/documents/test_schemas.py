"""The JSON Schemas in ``schemas/``, with check-jsonschema, a public tool."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from plansguard.commands.check import check
from plansguard.documents import json_document
from plansguard.documents.models.schema import SCHEMAS, schema
from plansguard.documents.recognise import is_v1
from plansguard.nnunet import constants
from plansguard.rules.engine.settings import ActiveSettings
from tests.conftest import ROOT
from tests.rules.pg7_run.trainings import READY
from tests.support.command import run
from tests.support.preprocessing_records import data, record
from tests.support.training_records import leave
from tests.support.variants import FIXTURES, lay_out, place, point_to, put

pytestmark = pytest.mark.deep

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
MODEL = "nnUNetTrainer__nnUNetPlans__3d_fullres"
FINAL = "checkpoint_final.pth"
#: Schema of an output that is no report -> a command that prints it, in a workspace that is ready for a training.
OUTPUTS = {
    "adaptation": (
        "adapt",
        f"{{ready}}/nnUNet_results/{CT}/{MODEL}/fold_0/checkpoint_final.pth",
        *"-d 2 --dry-run".split(),
    ),
    "fit": ("fit", f"{{ready}}/nnUNet_results/{CT}/{MODEL}", "-d", "2"),
    "show": ("show", f"{{ready}}/nnUNet_results/{CT}/{MODEL}"),
    "steps": ("steps", "--total", "100", "-d", "2", "-c", "3d_fullres"),
    "rules": ("rules",),
    "explain": ("explain", "PG101"),
    "env": ("env",),
    "verification": ("verify-receipt", "{ready}/nnUNet_results"),
    "road": ("finetune", *"-s 1 -t 2 -tp Moved -c 3d_fullres --steps 100 -device cpu --dry-run".split()),
    "status": ("status",),
    "preprocessing": ("preprocess", "-d", "2", "-c", "3d_fullres", "--dry-run"),
}
#: In a table of faults: the key goes away.
GONE: Final = object()


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Good documents of every kind: the fixtures, and what plansguard writes for them."""
    folder = tmp_path_factory.mktemp("documents")
    workspace = lay_out(folder / "workspace")
    plans = place(workspace, CT, "preprocessed/nnUNetPlans.json")
    moved = place(workspace, OTHER_CT, "preprocessed/PretrainPlans.json")
    of_check, of_migration, diff = (folder / name for name in ("check.json", "migration.json", "diff.json"))

    plansguard(workspace, "migrate", "-s", "1", "-t", "2", "-tp", "PretrainPlans", "--output", f"json={of_migration}")
    put("preprocessed/PretrainPlans.json", "/configurations/3d_fullres/spacing/0", 1.0)(workspace, OTHER_CT)
    plansguard(workspace, "check", "-d", "2", "--output", f"json={of_check}")
    diff.write_text(plansguard(workspace, "diff", str(plans), str(moved), "--output", "json"), encoding="utf-8")
    for stamped in (data(), record()):
        stamped(workspace, OTHER_CT)
    ready = lay_out(folder / "ready")
    for edit in READY:
        edit(ready, OTHER_CT)
    training_record = leave(ready, weights=place(ready, CT, f"results/{MODEL}/fold_0/checkpoint_final.pth"))
    settings = folder / "plansguard.json"
    settings.write_text(example_of_settings(), encoding="utf-8")
    baseline = folder / "plansguard-baseline.json"
    plansguard(workspace, "baseline", "write", "-d", "2", "--baseline", str(baseline))
    outputs: dict[str, list[Path]] = {}
    for name, command in OUTPUTS.items():
        if name == "preprocessing" and find_spec("nnunetv2") is None:
            continue  # the command looks for nnU-Net's program; the tests of this schema have it
        path = folder / f"{name}.json"
        words = [word.format(ready=ready) for word in command]
        path.write_text(plansguard(ready, *words, "--output", "json"), encoding="utf-8")
        outputs[name] = [path]
    return {
        **outputs,
        "plans": [moved, *found(workspace, "*[pP]lans.json")],
        "dataset": found(workspace, "dataset.json"),
        "fingerprint": found(workspace, "dataset_fingerprint.json"),
        "splits": found(workspace, "splits_final.json"),
        "lineage": found(workspace, "*.plansguard.json"),
        "stamp": found(workspace, "*.stamp.json"),
        "receipt": [training_record],
        "settings": [settings],
        "baseline": [baseline],
        "report": [of_check, of_migration],
        "diff": [diff],
    }


def found(workspace: Path, name: str) -> list[Path]:
    """The files of this name in the datasets' and models' folders."""
    return sorted({*workspace.glob(f"*/Dataset*/{name}"), *workspace.glob(f"*/Dataset*/*__*__*/{name}")})


def plansguard(workspace: Path, *arguments: str) -> str:
    """The output of a command on a workspace; findings are not a failure."""
    with pytest.MonkeyPatch.context() as patch:
        point_to(workspace, patch)
        done = run(*arguments)
    assert done.code in (0, 1), done.err
    return done.out


def example_of_settings() -> str:
    """The example of settings in README.md."""
    example = re.search(r"```json\n(.+?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert example
    return example[1]


def complaints(name: str, paths: Iterable[Path]) -> set[tuple[str, str]]:
    """(file name, JSON pointer) of every error that check-jsonschema reports about files."""
    verdict = check_jsonschema("--schemafile", str(file_of(name)), *map(str, paths))
    assert not verdict.get("parse_errors")
    return {(Path(error["filename"]).name, pointer(error["path"])) for error in verdict.get("errors", ())}


def check_jsonschema(*arguments: str) -> dict[str, Any]:
    """The output of the command-line tool."""
    pytest.importorskip("check_jsonschema", reason="needs check-jsonschema, which the extra `dev` installs")
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--output-format", "json", *arguments],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    verdict: dict[str, Any] = json.loads(done.stdout or "{}")
    assert done.returncode == (verdict.get("status") != "ok"), done.stdout + done.stderr
    return verdict


def pointer(path: str) -> str:
    """``$.a['2d'][0]``, as check-jsonschema names a place, as a JSON pointer."""
    return json_document.pointer(*("".join(token) for token in re.findall(r"\.(\w+)|\['(.+?)'\]|\[(\d+)\]", path)))


def file_of(name: str) -> Path:
    """The path of a schema in the repository."""
    return ROOT / "schemas" / f"{name}.schema.json"


# ---------------------------------------------------------------------------------------------------------------------
# Good documents
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_good_documents_are_accepted(name: str, documents: dict[str, list[Path]]) -> None:
    assert documents[name]
    assert complaints(name, documents[name]) == set()


def test_the_fixtures_are_all_there(documents: dict[str, list[Path]]) -> None:
    names = ("plans", "dataset", "fingerprint", "splits")
    fixtures = {path.name for path in FIXTURES.rglob("nnUNet_preprocessed/*/*.json")}
    assert fixtures <= {path.name for name in names for path in documents[name]}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plans", "dataset", "fingerprint", "splits"])
def test_real_files_are_accepted(name: str, corpus: Path) -> None:
    with (corpus / "manifest.tsv").open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        paths = [corpus / row["local path"] for row in rows if row["kind"] == name]
    assert complaints(name, [path for path in paths if not is_v1(json.loads(path.read_bytes()))]) == set()


def test_another_network_may_have_any_arguments(tmp_path: Path) -> None:
    own = {"network_class_name": "my_lab.networks.MyPlainConvUNet", "arch_kwargs": {"strides": "none"}}
    path = tmp_path / "MyPlans.json"
    path.write_text(json.dumps({"configurations": {"2d": {"architecture": own}}}), encoding="utf-8")
    assert complaints("plans", [path]) == set()


# ---------------------------------------------------------------------------------------------------------------------
# Broken documents
# ---------------------------------------------------------------------------------------------------------------------

#: Schema -> pointer -> the value that replaces that of the first good document; unknown keys are added.
BROKEN: dict[str, dict[str, Any]] = {
    "adaptation": {"/from/bytes": "7", "/from/of": "half", "/rows/0/name": None, "/mean": 1},
    "plans": {
        "/plans_name": None,
        "/transpose_forward/1": "1",
        "/original_median_spacing_after_transp": 1.5,
        "/foreground_intensity_properties_per_channel/0/mean": "12",
        "/configurations/2d/batch_size": "2",
        "/configurations/2d/patch_size/0": 64.5,
        "/configurations/2d/spacing/1": True,
        "/configurations/2d/architecture": "PlainConvUNet",
        "/configurations/3d_fullres/normalization_schemes": "CTNormalization",
        "/configurations/3d_fullres/use_mask_for_norm/0": 0,
        "/configurations/3d_fullres/batch_dice": "false",
        "/configurations/3d_fullres/resampling_fn_data": None,
        "/configurations/3d_fullres/architecture/_kw_requires_import": "conv_op",
        "/configurations/3d_fullres/architecture/arch_kwargs/n_stages": "4",
        "/configurations/3d_fullres/architecture/arch_kwargs/strides": "1, 2, 2, 2",
        "/configurations/3d_fullres/architecture/arch_kwargs/conv_op": None,
    },
    "dataset": {
        "/labels": ["background", "liver"],
        "/channel_names/0": 0,
        "/numTraining": "7",
        "/file_ending": [".nii.gz"],
    },
    "fingerprint": {
        "/spacings/0/1": "0.8",
        "/shapes_after_crop/0/0": 40.5,
        "/foreground_intensity_properties_per_channel": [],
        "/median_relative_size_after_cropping": [1.0],
    },
    "splits": {"/0/train": "pre_000", "/1/val/0": 5, "/2/val": GONE},
    "lineage": {
        "/schema": "plansguard/lineage/2",
        "/workflow": "sideways",
        "/to/sha256": GONE,
        "/migrated": None,
        "/digests/weigths": "of a key that is misspelt",
    },
    "stamp": {
        "/schema": "plansguard/stamp/2",
        "/finished": 5,
        "/input": None,
        "/files/sha256": GONE,
        "/cases": "5",
        "/before": [],
        "/input_sha265": "of a key that is misspelt",
    },
    "receipt": {
        "/schema": "plansguard/receipt/2",
        "/left_out": -0.5,
        "/cases/fine_000": 5,
        "/starts/0/times": "1",
        "/starts/0/command": "plansguard train",
        "/starts/0/training/gpus": None,
        "/starts/0/schedule": "50 steps",
        "/starts/0/plans/used": [],
        "/starts/0/plans/facets/weigths": "of a key that is misspelt",
        "/starts/0/weights/of": GONE,
        "/starts/0/data/headers": GONE,
        "/starts/0/splits/sha256": GONE,
        "/starts/0/report/accepted": None,
    },
    "settings": {
        "/fail_on": "never",
        "/severity/patch-larger-than-images": "off",
        "/ignore/0/reason": "",
        "/ignore/0/until": "soon",
        "/fail-on": "error",
    },
    "report": {
        "/command": GONE,
        "/summary/error": "1",
        "/tool/name": "another tool",
        "/summary/not_checked": GONE,
        "/findings/0/known": "yes",
        "/compared": {},
        "/exit_code": 0,
    },
    "baseline": {"/schema": "x", "/data": "some", "/plansguard": GONE, "/findings/0": {}, "/ignore": []},
    "fit": {"/results/0/outcome": "perhaps", "/results/0/command": GONE, "/rows": []},
    "show": {"/kind": "a picture", "/path": GONE, "/models": {}},
    "steps": {"/total": "100", "/commands": GONE, "/first_rate": None, "/step": 1},
    "rules": {"/rules/0/severity": "fatal", "/rules/1/why": GONE, "/rules/2/options": []},
    "explain": {"/rule/code": 101, "/page": GONE},
    "env": {"/variables": ["x"], "/path": "x"},
    "verification": {"/holds": "yes", "/receipts/0/documents/0/state": GONE, "/receipts/0/starts": {}},
    "road": {"/steps/0/state": "over", "/steps/1/because": GONE, "/steps/0/reads": "x", "/report/summary/error": GONE},
    "status": {"/rows/0/state": "over", "/rows/0/plans": GONE, "/row": 1},
    "preprocessing": {"/cases": "5", "/targets/0/command": "x", "/report/summary/error": GONE},
    "diff": {"/facets/looks": 1, "/changes/0/facet": "looks", "/changes/1/parts": "one", "/changes/2/field": GONE},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_broken_documents_are_rejected(name: str, documents: dict[str, list[Path]], tmp_path: Path) -> None:
    document = json.loads(documents[name][0].read_bytes())
    places = {break_at(document, where, value) for where, value in BROKEN[name].items()}
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert complaints(name, [path]) == {("broken.json", where) for where in places}


def break_at(document: Any, where: str, value: Any) -> str:
    """Put ``value`` there; return where it is reported: at the object around it if a key is missing or unknown."""
    *parents, last = json_document.tokens(where)
    for token in parents:
        document = document[int(token) if isinstance(document, list) else token]
    key: Any = int(last) if isinstance(document, list) else last
    around = isinstance(document, dict) and (value is GONE or key not in document)
    if value is GONE:
        del document[key]
    else:
        document[key] = value
    return json_document.pointer(*parents) if around else where


def test_a_fault_that_json_schema_cannot_describe(documents: dict[str, list[Path]], tmp_path: Path) -> None:
    # 2.0 is an integer in JSON Schema; nnU-Net's data loader fails on it, so the models and PG005 refuse it.
    path = tmp_path / "MyPlans.json"
    document = json.loads(documents["plans"][0].read_bytes())
    document["configurations"]["3d_fullres"]["batch_size"] = 2.0
    path.write_text(json.dumps(document), encoding="utf-8")
    assert complaints("plans", [path]) == set()
    [finding] = check([path], settings=ActiveSettings()).findings
    assert (finding.code, finding.location.pointer) == ("PG005", "/configurations/3d_fullres/batch_size")


# ---------------------------------------------------------------------------------------------------------------------
# The schemas themselves
# ---------------------------------------------------------------------------------------------------------------------


def test_the_schemas_are_schemas() -> None:
    assert check_jsonschema("--check-metaschema", *(str(file_of(name)) for name in SCHEMAS))["status"] == "ok"


@pytest.mark.parametrize("name", SCHEMAS)
def test_dialect_and_id(name: str) -> None:
    body = json.loads(file_of(name).read_bytes())
    assert body["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert body["$id"] == f"https://raw.githubusercontent.com/plansguard/plansguard/main/schemas/{name}.schema.json"


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_property_is_described(name: str) -> None:
    body = schema(name)
    for part in (body, *body.get("$defs", {}).values()):
        assert part["description"].endswith(".")
        for key, field in part.get("properties", {}).items():
            # A property has no description if it would repeat that of its definition.
            described = field if "description" in field else body["$defs"][field["$ref"].rpartition("/")[2]]
            assert described["description"].endswith("."), key


def test_the_networks_with_known_arguments_are_those_of_nnunet() -> None:
    pattern = schema("plans")["$defs"]["Architecture"]["if"]["properties"]["network_class_name"]["pattern"]
    for network, stock in constants.STOCK_ARCHITECTURES.items():
        assert re.search(pattern, f"{stock.module}.{network}")
        assert {*stock.required, *stock.optional} <= set(schema("plans")["$defs"]["ArchKwargs"]["properties"])


def test_the_command_prints_the_file(tmp_path: Path) -> None:
    assert plansguard(lay_out(tmp_path, CT), "schema", "plans") == file_of("plans").read_text(encoding="utf-8")
