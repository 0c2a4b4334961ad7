"""Generated files, and the consistency of codes, names, texts, modules and failure modes of rules."""

from __future__ import annotations

import ast
import csv
import inspect
import re
import string
import subprocess
import sys
import textwrap
from importlib.metadata import version
from types import ModuleType

import pytest

from plansguard.rules import MODULES, RULES, RULES_OF_DATASETS
from plansguard.rules.engine.declare import Rule
from plansguard.rules.engine.needs import Level
from plansguard.rules.engine.page import SAMPLE, SECTIONS, page, samples
from tests.conftest import ROOT
from tests.rules import VARIANTS_BY_MODULE

#: Every rule that ever existed. Lines are never changed or removed: users ignore findings by code and by name.
CODES = {
    "PG000": "rule-crashed",
    "PG001": "unreadable-document",
    "PG002": "duplicate-key",
    "PG003": "non-finite-number",
    "PG004": "wrong-document",
    "PG005": "invalid-field",
    "PG006": "missing-key",
    "PG101": "patch-not-divisible",
    "PG102": "bottleneck-too-small",
    "PG103": "stage-lists-disagree",
    "PG104": "incomplete-architecture",
    "PG105": "transposes-not-inverse",
    "PG106": "inheritance-broken",
    "PG107": "configuration-not-found",
    "PG108": "dimensions-disagree",
    "PG109": "invalid-spacing",
    "PG110": "old-plans-format",
    "PG111": "unknown-normalization",
    "PG112": "plans-name-differs",
    "PG113": "dataset-name-differs",
    "PG114": "plans-not-found",
    "PG115": "first-stage-downsamples",
    "PG116": "unknown-operation",
    "PG117": "wrong-argument",
    "PG118": "unknown-name",
    "PG119": "broken-cascade",
    "PG120": "misspelt-key",
    "PG121": "invalid-count",
    "PG130": "old-keys-ignored",
    "PG131": "plans-share-a-name",
    "PG201": "dataset-json-missing",
    "PG202": "dataset-json-differs-from-raw",
    "PG203": "foreign-dataset-json",
    "PG204": "v1-dataset-json",
    "PG205": "file-ending-mismatch",
    "PG206": "regions-without-order",
    "PG207": "invalid-labels",
    "PG208": "invalid-channels",
    "PG209": "dataset-key-missing",
    "PG210": "unknown-file-ending",
    "PG301": "invalid-fingerprint-spacing",
    "PG302": "fingerprint-missing",
    "PG303": "fingerprint-count",
    "PG304": "channel-count-mismatch",
    "PG305": "normalization-differs-from-channels",
    "PG306": "intensity-properties-foreign",
    "PG307": "spacing-far-from-data",
    "PG308": "patch-larger-than-images",
    "PG309": "3d-configuration-on-2d-data",
    "PG310": "transpose-not-for-this-data",
    "PG311": "plans-from-other-dataset",
    "PG312": "reader-loses-spacing",
    "PG313": "ct-statistics-edited",
    "PG314": "degenerate-ct-statistics",
    "PG315": "spacing-axes-permuted",
    "PG316": "spacing-lost",
    "PG317": "mask-not-for-this-data",
    "PG319": "volumes-one-voxel-thick",
    "PG320": "intensity-property-missing",
    "PG321": "damaged-fingerprint",
    "PG322": "cascade-not-needed",
    "PG401": "migrated-weights-field-edited",
    "PG402": "migrated-input-field-edited",
    "PG403": "migrated-training-field-edited",
    "PG404": "results-from-other-plans",
    "PG405": "trained-without-migrated-plans",
    "PG410": "reversed-direction",
    "PG411": "direction-unproven",
    "PG412": "would-overwrite",
    "PG413": "default-name-for-migrated-plans",
    "PG414": "channels-differ",
    "PG415": "dimensions-of-datasets-differ",
    "PG416": "raw-images-absent",
    "PG417": "plans-already-there",
    "PG418": "weights-from-other-plans",
    "PG501": "data-identifier-conflict",
    "PG502": "child-shares-parent-data",
    "PG503": "cascade-without-parent-data",
    "PG504": "data-missing",
    "PG505": "cases-missing",
    "PG506": "incomplete-case",
    "PG507": "data-from-other-plans",
    "PG508": "array-channels-differ",
    "PG509": "class-locations-differ",
    "PG510": "ground-truth-missing",
    "PG511": "mixed-data-formats",
    "PG512": "raw-files-newer-than-data",
    "PG513": "ground-truth-differs-from-raw",
    "PG514": "split-names-missing-case",
    "PG515": "cases-in-no-split",
    "PG516": "split-overlaps",
    "PG517": "next-stage-data-missing",
    "PG518": "previous-stage-predictions-missing",
    "PG519": "data-of-another-version",
    "PG520": "values-outside-normalization",
    "PG521": "values-unlike-normalization",
    "PG522": "undeclared-labels",
    "PG523": "values-of-other-statistics",
    "PG524": "label-geometry-differs",
    "PG525": "data-from-another-reader",
    "PG526": "no-folder-of-its-own",
    "PG527": "too-few-cases-to-divide",
    "PG528": "folds-are-identical",
    "PG529": "reading-stopped",
    "PG530": "data-under-another-name",
    "PG540": "stamp-disagrees",
    "PG541": "data-changed-since-stamp",
    "PG542": "preprocessing-unfinished",
    "PG601": "unreadable-checkpoint",
    "PG602": "damaged-checkpoint",
    "PG603": "not-an-nnunet-v2-checkpoint",
    "PG604": "suspicious-checkpoint",
    "PG605": "cuda-weights-without-gpu",
    "PG606": "unfinished-weights",
    "PG607": "weights-without-plans",
    "PG608": "trainer-of-weights-unknown",
    "PG609": "trainer-changes-network",
    "PG610": "checkpoint-from-other-plans",
    "PG611": "weights-are-no-numbers",
    "PG620": "other-network",
    "PG621": "input-channels-differ",
    "PG622": "weights-of-other-dimension",
    "PG623": "other-topology",
    "PG624": "weights-fit-other-plans",
    "PG625": "weights-saw-other-input",
    "PG626": "channels-permuted",
    "PG627": "weights-were-not-mirrored",
    "PG628": "head-starts-anew",
    "PG629": "training-already-there",
    "PG630": "nnssl-weights-not-found",
    "PG631": "nnssl-weights-without-adaptation-plan",
    "PG632": "nnssl-plans-with-plain-trainer",
    "PG633": "nnssl-channels",
    "PG634": "nnssl-patch",
    "PG701": "trainer-not-found",
    "PG702": "trainer-rejected",
    "PG703": "trainer-signature",
    "PG704": "trainer-edited-in-place",
    "PG705": "search-for-trainer-fails",
    "PG707": "trainer-builds-another-network",
    "PG711": "gpu-memory-too-small",
    "PG712": "batch-smaller-than-gpus",
    "PG713": "batch-uneven-on-gpus",
    "PG714": "fewer-gpus-than-asked",
    "PG715": "disk-too-small",
    "PG716": "no-room-to-unpack",
    "PG721": "results-would-be-overwritten",
    "PG722": "nothing-to-continue",
    "PG723": "nothing-to-validate",
    "PG724": "continue-and-pretrained-weights",
    "PG725": "stale-final-checkpoint",
    "PG726": "checkpoint-to-continue-damaged",
    "PG727": "finished-already",
    "PG728": "schedule-changed",
    "PG729": "plans-changed-since-checkpoint",
    "PG730": "split-changed-since-checkpoint",
    "PG731": "rate-high-for-pretrained-weights",
    "PG732": "fold-beyond-splits",
    "PG733": "checkpoints-too-rare",
    "PG734": "epochs-are-not-passes",
    "PG735": "step-name-cannot-be-read",
    "PG736": "migrated-plans-not-used",
    "PG737": "weights-forgotten",
    "PG738": "num-epochs-set-too-late",
    "PG739": "training-in-progress",
    "PG740": "no-process-for-the-work",
    "PG741": "nothing-to-train-on",
    "PG742": "previous-stage-of-another-trainer",
    "PG743": "previous-stage-saw-validation-cases",
    "PG744": "checkpoint-is-no-file",
    "PG745": "weights-saw-validation-cases",
    "PG746": "no-head-to-keep",
    "PG747": "head-does-not-fit",
    "PG751": "planning-replaces-migrated-plans",
    "PG752": "planning-replaces-plans-in-use",
    "PG753": "prediction-checkpoint-missing",
    "PG754": "input-images-do-not-fit",
    "PG755": "previous-stage-not-given",
    "PG756": "no-thread-for-planning",
    "PG757": "planner-not-found",
    "PG801": "old-residual-plans-under-old-nnunet",
    "PG802": "old-nnunet-refuses-checkpoint",
    "PG803": "several-nnunet-installations",
    "PG804": "torch-does-not-suit-nnunet",
    "PG805": "network-class-not-installed",
    "PG806": "nnunet-too-old-for-steps",
    "PG807": "torchvision-cannot-load",
    "PG808": "variable-not-set",
    "PG809": "variable-malformed",
    "PG810": "variable-leads-nowhere",
    "PG811": "variables-share-a-folder",
    "PG812": "several-datasets-of-one-id",
    "PG813": "folder-without-permission",
    "PG814": "disk-nearly-full",
    "PG815": "trainer-folder-unusable",
    "PG816": "installation-incomplete",
    "PG817": "trainer-hidden-by-another",
    "PG818": "variables-read-at-import",
    "PG819": "new-plans-under-old-nnunet",
    "PG820": "shared-memory-too-small",
    "PG821": "memory-too-small-for-processes",
    "PG822": "more-processes-than-cores",
    "PG823": "too-few-open-files",
    "PG824": "another-training-unpacks",
    "PG825": "memory-too-small-for-preprocessing",
    "PG826": "more-processes-than-cores-to-preprocess",
    "PG901": "unused-ignore",
    "PG902": "expired-ignore",
}


#: The failure modes that plansguard promises to find.
PROMISED = """
    MV-01 MV-02 MV-03 MV-04 MV-05 MV-06 MV-07 MV-08 MV-09 MV-10 MV-13 MV-14 MV-15 MV-16 PP-03
    PL-01 PL-02 PL-03 PL-05 PL-07 PL-08 PL-09 PL-10 PL-12 NO-01 NO-02 NO-03 NO-07 LB-02 LB-04
    DS-01 SP-01 SP-03 D2-01 VR-01 IO-02
    AR-01 AR-02 AR-03 AR-04 AR-05 AR-06 AR-07 AR-08 AR-09 AR-10 AR-11 AR-12 AR-13 MV-11 MV-12 CA-04 SSL-01
    SSL-02 SSL-03 SSL-04 SSL-05 VR-02 TR-05 TR-06 PP-01 PP-02 PP-04 PP-05 PP-06 PP-07 PP-08 PP-09 PP-10
    PP-11 LB-01 LB-06 SL-01 SL-02 CA-01 CA-02 SP-04 VR-06
    RT-04 SL-03 ST-01 ST-02 ST-03 ST-04 ST-05 ST-06 ST-07 ST-08 ST-10
    RT-01 RT-02 RT-05
    TR-01 TR-02 TR-03 TR-04 VR-03 VR-05 VR-07 RT-03 IO-03 DS-03 DS-04
""".split()

#: Lines of the body of a rule.
MOST_LINES = 25

every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.info.code)


def test_nothing_generated_is_stale() -> None:
    done = subprocess.run(
        [sys.executable, "tools/generate.py", "--check"], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    # Typer formats help differently before 0.27.
    same_help = tuple(map(int, version("typer").split(".")[:2])) >= (0, 27)
    expected = (0, "") if same_help else (1, "stale: docs/commands.md (run make docs)\n")
    assert (done.returncode, done.stdout, done.stderr) == (*expected, "")


# ---------------------------------------------------------------------------------------------------------------------
# Codes, names, texts
# ---------------------------------------------------------------------------------------------------------------------


def test_codes_and_names_are_never_used_again() -> None:
    codes = {rule.info.code: rule.info.name for rule in RULES}
    assert len(codes) == len(RULES)
    assert codes.items() <= CODES.items()
    assert len(set(CODES.values())) == len(CODES)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_code_leads_to_its_folder(module: ModuleType) -> None:
    """PG721 is in plansguard/rules/pg7_run/."""
    family = module.__name__.removeprefix("plansguard.rules.")
    codes = [one.info.code for one in vars(module).values() if isinstance(one, Rule)]
    assert codes
    assert [code for code in codes if code[:3].lower() != family[:3]] == []


def test_a_check_has_every_rule_about_datasets() -> None:
    others = {rule.level for rule in RULES if rule not in RULES_OF_DATASETS}
    commands = {Level.PREPROCESSING, Level.RUN, Level.PLANNING, Level.PREDICTION, Level.PAIR}
    assert others == commands | {Level.INSTALLATION, Level.SETUP}


@pytest.mark.parametrize("module", VARIANTS_BY_MODULE)
def test_variants_are_in_the_folder_of_their_family(module: str) -> None:
    """Variants of PG721 are in tests/rules/pg7_run/. Codes of other families may be among what they expect."""
    family = module[:3].upper()
    misplaced = [
        variant.name
        for variant in VARIANTS_BY_MODULE[module]
        if not any(code.startswith(family) for code, _, _ in variant.expect)
    ]
    assert misplaced == []


@every_rule
def test_rules_are_short(rule: Rule) -> None:
    """The body of a rule, without its docstring, has at most 25 lines."""
    source = textwrap.dedent(inspect.getsource(rule.check))
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    body = function.body[1:]
    assert (body[-1].end_lineno or 0) - body[0].lineno < MOST_LINES


@every_rule
def test_names_are_words_with_hyphens(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", rule.info.name)


@every_rule
def test_messages_and_fixes_are_templates(rule: Rule) -> None:
    for template in (rule.info.message, rule.info.fix):
        assert template.strip()
        assert all(field is None or field.isidentifier() for _, field, _, _ in string.Formatter().parse(template))


@every_rule
def test_the_docstring_is_a_whole_page(rule: Rule) -> None:
    title, *paragraphs = rule.info.doc.split("\n\n")
    assert re.fullmatch(r"[A-Z].{10,}\.", title)
    named = [paragraph.partition(":") for paragraph in paragraphs]
    assert [head for head, _, _ in named if head in SECTIONS] == list(SECTIONS)
    assert all(text.strip() for head, _, text in named if head in SECTIONS)
    sample = [SAMPLE] * (rule.info.code in samples())
    assert re.findall(r"^## (.+)$", page(rule), re.MULTILINE) == [*SECTIONS, *sample]


@every_rule
def test_the_url_leads_to_the_page(rule: Rule) -> None:
    place = rule.info.url.partition("/blob/main/")[2]
    assert (ROOT / place).read_text(encoding="utf-8") == page(rule)


# ---------------------------------------------------------------------------------------------------------------------
# Failure modes
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def modes() -> list[dict[str, str]]:
    with (ROOT / "tools/failure_modes.tsv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_modes_that_rules_name_exist(modes: list[dict[str, str]]) -> None:
    known = [mode["id"] for mode in modes]
    assert len(known) == len(set(known))
    assert {mode for rule in RULES for mode in rule.info.modes} <= set(known)


@pytest.mark.parametrize("mode", PROMISED)
def test_promised_modes_are_covered(mode: str) -> None:
    assert [rule.info.code for rule in RULES if mode in rule.info.modes]


def test_every_mode_without_a_rule_has_a_reason(modes: list[dict[str, str]]) -> None:
    assert all(mode["title"] and mode["without a rule"] for mode in modes)


# ---------------------------------------------------------------------------------------------------------------------
# Links
# ---------------------------------------------------------------------------------------------------------------------


def test_links_resolve() -> None:
    """Relative links in the project's documentation lead to existing files."""
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("fixtures/*.md")]
    broken = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
        if "://" not in target and not (document.parent / target.partition("#")[0]).exists()
    ]
    assert broken == []
