"""What --overwrite may replace: a checkpoint, in a folder that holds nothing else."""

from pathlib import Path

import golden as fixtures
import pytest

from dsm_mlx.convert.belongings import check_replaceable


@pytest.fixture
def published(tmp_path) -> Path:
    return fixtures.assemble("stt-tiny", tmp_path / "published")


def test_what_a_download_holds_may_be_replaced(published):
    for file in ("README.md", ".gitattributes", ".DS_Store", ".cache/huggingface/download/x.lock"):
        (published / file).parent.mkdir(parents=True, exist_ok=True)
        (published / file).write_text("")
    check_replaceable(published, overwrite=True)


def test_a_damaged_checkpoint_may_be_replaced(published):
    (published / "model.safetensors").write_bytes(b"half")
    check_replaceable(published, overwrite=True)
    (published / "model.safetensors").unlink()
    check_replaceable(published, overwrite=True)


def test_a_lora_that_the_config_names_belongs_to_it(published):
    (published / "lora.safetensors").write_bytes(b"")
    with pytest.raises(FileExistsError, match=r"holds lora\.safetensors"):
        check_replaceable(published, overwrite=True)
    fixtures.edit_json(published / "config.json", lambda c: c.update(lora_name="lora.safetensors"))
    check_replaceable(published, overwrite=True)


def test_a_config_may_name_what_is_no_file(published):
    """It is still a checkpoint, of which the file that is not named any more is no part."""
    fixtures.edit_json(published / "config.json", lambda c: c.update(tokenizer_name=["a"]))
    with pytest.raises(FileExistsError, match=r"holds tokenizer.*\.model beside a checkpoint"):
        check_replaceable(published, overwrite=True)


@pytest.mark.parametrize(
    "file", ["notes.txt", "model.safetensors.bak", "sub/config.json", "empty/", "link"]
)
def test_what_does_not_belong_is_named(file, published):
    if file == "link":
        (published / file).symlink_to(published.parent)
    elif file.endswith("/"):
        (published / file).mkdir()
    else:
        (published / file).parent.mkdir(parents=True, exist_ok=True)
        (published / file).write_text("mine")
    with pytest.raises(FileExistsError) as refused:
        check_replaceable(published, overwrite=True)
    assert f"holds {file.rstrip('/')} beside a checkpoint" in str(refused.value)


def test_of_many_that_do_not_belong_some_are_named(published):
    for i in range(1000):
        (published / f"a{i:03}").write_text("mine")
    with pytest.raises(FileExistsError, match="a000, a001, a002, a003, a004 and 995 more") as bad:
        check_replaceable(published, overwrite=True)
    assert len(str(bad.value)) < 500


@pytest.mark.parametrize(
    "config", ["{", "[]", "{}", '{"name": "my-app", "dim": 3}', '{"mimi_name": "a"}']
)
def test_a_config_of_something_else(config, tmp_path):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(FileExistsError, match="is not the folder of a checkpoint"):
        check_replaceable(tmp_path, overwrite=True)


def test_a_folder_that_names_strange_files_in_its_config(published):
    """Only what a conversion or a model's own entries name belongs to it."""
    (published / "thesis.tex").write_text("")
    fixtures.edit_json(published / "config.json", lambda c: c.update(other_name="thesis.tex"))
    with pytest.raises(FileExistsError, match=r"holds thesis\.tex"):
        check_replaceable(published, overwrite=True)


def test_a_codec_alone_may_be_replaced(tmp_path):
    for file in ("mimi.safetensors", "mimi_config.json"):
        source = fixtures.CHECKPOINTS / "mimi-tiny" / file
        (tmp_path / file).write_bytes(source.read_bytes())
    check_replaceable(tmp_path, overwrite=True)
    (tmp_path / "song.wav").write_bytes(b"")
    with pytest.raises(FileExistsError, match=r"holds song\.wav"):
        check_replaceable(tmp_path, overwrite=True)
