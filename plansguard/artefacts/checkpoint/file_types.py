"""Recognise files that are no checkpoints: what each is, in one clause, and what to do."""

from __future__ import annotations

import re
from typing import NamedTuple

HEAD = 1024
"""Bytes of a file that ``recognise`` uses."""

_PAGE_HINT = "this was downloaded in place of the file: open its address in a browser, or log in, and fetch it again"
_UNPACK = "unpack it and name the checkpoint inside"
_TORCH_ONLY = "nnU-Net loads files that torch.save wrote: ask its author for the .pth"

_ARCHIVES = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!\x1a\x07", "RAR"),
)
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body|script|meta)\b", re.IGNORECASE)
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|[A-Za-z])")
_JSON = re.compile(rb"(?:\xef\xbb\xbf)?\s*[{\[]\s*(?:[\"{\[}\]\d-]|$)")


class OtherFileType(NamedTuple):
    """What a file is, as a clause that follows "this is", and what to do about it."""

    what: str
    hint: str


def recognise(head: bytes) -> OtherFileType | None:
    """Recognise a file by its first bytes; None for a checkpoint and for unknown files."""
    for magic, name in _ARCHIVES:
        if head.startswith(magic):
            return OtherFileType(f"a file packed with {name}", _UNPACK)
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return OtherFileType("a pointer of git-lfs, in place of the file itself", "run: git lfs pull")
    if head.startswith(b"PK\5\6"):
        return OtherFileType("a zip archive without files", "fetch the whole file again")
    if head[257:262] == b"ustar":
        what = "a tar archive; only PyTorch before 0.1.10 wrote checkpoints so"
        return OtherFileType(what, f"{_UNPACK}; if it is such a checkpoint, load and save it with an old PyTorch")
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return OtherFileType("an HDF5 file, as Keras and MATLAB write it", _TORCH_ONLY)
    if head[:1] == b"\x08" and head[2:3] in (b"\x12", b":") and re.search(rb"pytorch|onnx|keras|tf2", head[:128]):
        return OtherFileType("an ONNX file: a network for inference, which nnU-Net cannot train", _TORCH_ONLY)
    if _PAGE.match(head):
        return OtherFileType("a web page", _PAGE_HINT)
    if _MARKUP.match(head):
        return OtherFileType("XML, as in answers of servers", _PAGE_HINT)
    if _JSON.match(head):
        return OtherFileType("JSON text", "name a .pth file; if it is a server's answer, fetch the file again")
    return None


def unknown(head: bytes) -> str:
    """Describe a file that is neither a pickle nor recognised."""
    text = head.decode("utf-8", "ignore")
    is_text = len(text.encode()) > len(head) - 4 and all(char.isprintable() or char.isspace() for char in text)
    return "it is text" if is_text else f"it begins with the bytes {head[:8].hex(' ')}"


def is_safetensors(head: bytes) -> bool:
    """Whether these are eight bytes of length, then JSON: https://github.com/huggingface/safetensors, Format."""
    return len(head) > 9 and head[8:10] in (b'{"', b"{}", b"{ ") and int.from_bytes(head[:8], "little") < 2**32
