"""Which masks belong to which picture, by the names that labelling tools give."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from cosal_d2.prepare.convert.source_files import by_stem, loose_key, loosely
from cosal_d2.utils.mask_words import SEPARATORS, is_mask_word, without_first_word
from cosal_d2.utils.pixel_values import say_once


def pair_masks(
    images: Path, masks: Path, suffix: str, skip_missing: bool
) -> list[tuple[Path, tuple[Path, ...]]]:
    """Each picture with its mask, or with its masks where there is one an object.

    Of ``a.jpg`` the mask is ``a.png``, ``a.jpg.png``, ``a_mask.png`` or ``mask_a.png`` (or another
    of :data:`.mask_words.MASK_WORDS`, with a separator). Where there is none of them, all masks
    whose name goes on after ``a`` and a separator, such as ``a_1.png``, ``a-apple-0.png`` or
    ``a/1.png``, are one an object; the longest name of a picture counts. Case makes no difference
    where no two names differ by it alone. The log says how many masks are of no picture.

    Args:
        images, masks: folders, which may be the same.
        suffix: what is cut off from the names of masks; others are none.
        skip_missing: leave pictures without a mask out.

    Raises:
        FileNotFoundError: there is no picture, or one has no mask.
        ValueError: two pictures, or two masks, have one name.
    """
    pictures, found, ending = by_stem(images), by_stem(masks), suffix
    if not pictures:
        raise FileNotFoundError(f"{images}: no pictures in it; give their folder to --images")
    alike = loosely(pictures), loosely(found)
    if (len(alike[0]), len(alike[1])) == (len(pictures), len(found)):
        (pictures, found), suffix = alike, loose_key(suffix)
    if images.resolve() == masks.resolve():
        found = {s: f for s, f in found.items() if _is_beside_its_picture(s, suffix, pictures)}
        pictures = {s: p for s, p in pictures.items() if s not in found}
    if suffix:
        found = {s.removesuffix(suffix): f for s, f in found.items() if s.endswith(suffix)}
    owned, strangers = _owned(pictures, found)
    if strangers:
        say_once(
            f"{masks}: {len(strangers)} masks are of no picture in {images}, or beside its own, "
            f"such as {strangers[0].name}"
        )
    missing = [stem for stem in pictures if stem not in owned]
    if len(missing) == len(pictures):
        raise FileNotFoundError(
            f"{images}: no picture has a mask in {masks}; masks are named as their pictures"
            f"{_example(pictures, strangers)}"
        )
    if missing and not skip_missing:
        file = pictures[missing[0]]
        name = file.relative_to(images).with_suffix("").as_posix()
        raise FileNotFoundError(
            f"{file}: no mask {name}{ending}.png (or another suffix) in "
            f"{masks}; add it, or give --mask-suffix or --skip-missing"
        )
    return [(picture, owned[stem]) for stem, picture in pictures.items() if stem in owned]


def _is_beside_its_picture(stem: str, suffix: str, pictures: dict[str, Path]) -> bool:
    """Whether a file is the mask of another in the same folder."""
    if suffix:
        return stem.endswith(suffix)
    return _owner(stem, pictures)[1]


def _owned(
    pictures: dict[str, Path], found: dict[str, Path]
) -> tuple[dict[str, tuple[Path, ...]], list[Path]]:
    """Masks by stem of their picture; and those of none."""
    names = {stem + path.suffix.lower(): stem for stem, path in pictures.items()}
    names |= {stem + path.suffix: stem for stem, path in pictures.items()}
    names |= {stem: stem for stem in pictures}
    owned = {names[stem]: (file,) for stem, file in found.items() if stem in names}
    parts, strangers = defaultdict(list), []
    for stem, file in found.items():
        if stem in names:
            continue
        name, is_mask = _owner(stem, names)
        if name is None or names[name] in owned:
            strangers.append(file)
        else:
            parts[names[name]].append((file, is_mask))
    for stem, files in parts.items():
        named = [file for file, is_mask in files if is_mask]
        if len(named) > 1:
            raise ValueError(
                f"{named[0]} and {named[1]} are two masks of {pictures[stem].name}; give "
                "--mask-suffix, or remove one"
            )
        owned[stem] = tuple(named or (file for file, _ in files))
        strangers += [file for file, _ in files if file not in owned[stem]]
    return owned, strangers


def _owner(stem: str, names: dict[str, str] | dict[str, Path]) -> tuple[str | None, bool]:
    """The longest of the names after which a separator and more follow, or the one that follows a
    word for a mask; and whether all that is beside the name is such a word."""
    for i in range(len(stem) - 2, 0, -1):
        if stem[i] in SEPARATORS and stem[:i] in names:
            return stem[:i], is_mask_word(stem[i:])
    bare = without_first_word(stem)
    if bare == stem:
        return None, False
    return (bare, True) if bare in names else _owner(bare, names)


def _example(pictures: dict[str, Path], strangers: list[Path]) -> str:
    if not (pictures and strangers):
        return ""
    text = f", but there are {next(iter(pictures.values())).name} and {strangers[0].name}"
    if strangers[0].name.startswith("task-"):
        text += "; Label Studio names masks by task: put the picture's name and _ before it"
    return text
