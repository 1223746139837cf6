"""Missing pictures are found before the first iteration."""

import pytest
from network_data import tiny_config

from cosal_d2.data.presence import check_pictures, datasets_beside_training


def test_all_missing_pictures_are_counted_and_the_first_are_named(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(9)]
    for path in paths[:2]:
        path.write_bytes(b"png")
    paths[2].touch()
    paths[3].mkdir()
    records = [{"file_name": str(path)} for path in paths] * 2
    message = (
        rf"^7 of the 9 pictures of mine are missing or empty: {paths[2]}, .*{paths[6]} and 2 more"
    )
    with pytest.raises(FileNotFoundError, match=message):
        check_pictures({"there": records[:2], "mine": records})
    assert check_pictures({"there": records[:2]}) == {str(p): 3 for p in paths[:2]}


def test_datasets_of_the_test_and_of_composites_are_looked_for(dataset):
    found = datasets_beside_training(tiny_config("DATASETS.TEST", f"('{dataset}',)"))
    assert {name: len(records) for name, records in found.items()} == {dataset: 3}
    with pytest.raises(ValueError, match="^DATASETS.TEST: no dataset 'cosal_typo'"):
        datasets_beside_training(tiny_config("DATASETS.TEST", "('cosal_typo',)"))
    singles = ["INPUT.COMPOSITES.SINGLES", "('cosal_lost',)", "INPUT.COMPOSITES.PROB"]
    assert datasets_beside_training(tiny_config(*singles, "0.0")) == {}
    with pytest.raises(ValueError, match="^INPUT.COMPOSITES.SINGLES: no dataset 'cosal_lost'"):
        datasets_beside_training(tiny_config(*singles, "0.5"))
