from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest

from musegen.errors import RecipeError
from musegen.train.recipe import Range, TrainConfig, from_table, load
from musegen.train.task import OptimizerConfig


@dataclass(frozen=True)
class Dish:
    portions: Annotated[int, Range(1, 10)]
    salt: float = 0.5
    name: str = "soup"
    hot: bool = True
    kind: Literal["starter", "main"] = "main"
    spices: tuple[str, ...] = ()
    size: tuple[int, int] = (1, 2)
    pot: Path | None = None
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self):
        if self.name == "poison":
            raise ValueError("name must be edible")


def test_a_table_becomes_a_dataclass():
    table = {
        "portions": 3,
        "salt": 1,
        "spices": ["pepper", "curry"],
        "size": [3, 4],
        "pot": "kitchen/pot",
        "optimizer": {"kind": "muon", "betas": [0, 0.99]},
    }
    dish = from_table(Dish, table, "dish")
    assert dish.portions == 3
    assert dish.salt == 1.0
    assert isinstance(dish.salt, float)
    assert dish.spices == ("pepper", "curry")
    assert dish.size == (3, 4)
    assert dish.pot == Path("kitchen/pot")
    assert dish.optimizer == OptimizerConfig("muon", betas=(0.0, 0.99))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "dish.portions is missing; it must be a whole number 1 to 10"),
        ({"portions": 0}, "dish.portions must be 1 to 10, got 0"),
        ({"portions": 11}, "dish.portions must be 1 to 10, got 11"),
        ({"portions": 2.5}, "dish.portions must be a whole number, got 2.5"),
        ({"portions": True}, "dish.portions must be a whole number, got True"),
        ({"portions": 1, "salt": "much"}, "dish.salt must be a number, got 'much'"),
        ({"portions": 1, "hot": 1}, "dish.hot must be true or false, got 1"),
        ({"portions": 1, "kind": "desert"}, "dish.kind must be one of 'starter', 'main', got 'desert'"),
        ({"portions": 1, "spices": [1]}, r"dish.spices\[0\] must be a string, got 1"),
        ({"portions": 1, "size": [1]}, r"dish.size must be a list of .*, got \[1\]"),
        ({"portions": 1, "pot": 5}, "dish.pot must be a path or nothing, got 5"),
        ({"portions": 1, "potions": 1}, r"unknown key 'potions' in \[dish\]; nearest: portions"),
        ({"portions": 1, "optimizer": {"lr": -1.0}}, "dish.optimizer.lr must be at least 0.0, got -1.0"),
        ({"portions": 1, "optimizer": {"betas": [0.9, 1.0]}}, r"betas\[1\] must be 0.0 to below 1.0, got 1.0"),
        ({"portions": 1, "optimizer": 3}, "dish.optimizer must be a table, got 3"),
        ({"portions": 1, "name": "poison"}, r"\[dish\]: name must be edible"),
        ({"portions": float("nan")}, "dish.portions"),
    ],
)
def test_mistakes_are_named(table, message):
    with pytest.raises(RecipeError, match=message):
        from_table(Dish, table, "dish")


RECIPE = """
name = "muse"
[model]
pattern = "fixed"
[task]
n_rows = 8
[task.optimizer]
lr = 0.001
[train]
steps = 100
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "muse-tiny.toml"
    path.write_text(RECIPE)
    return path


def test_load_with_overrides(recipe):
    loaded = load(recipe, ["train.steps=20", "model.pattern=dense", "task.optimizer.lr=3e-4", "task.styles=['a', 'b']"])
    assert loaded.name == "muse"
    assert loaded.train == TrainConfig(steps=20)
    assert loaded.model_table == {"pattern": "dense"}
    assert loaded.task_table == {"n_rows": 8, "optimizer": {"lr": 3e-4}, "styles": ["a", "b"]}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.step=3", "unknown key 'step' in .train.; nearest: steps"),
        ("train.steps=many", "train.steps must be a whole number, got 'many'"),
        ("train.steps", "must look like train.steps=100"),
        ("train..steps=3", "must look like train.steps=100"),
        ("trian.steps=3", "unknown key 'trian' in the recipe; nearest: train"),
        ("train=3", "train of the recipe must be a table"),
        ("train.steps.more=3", "train.steps is a value, not a table"),
        ("name=3", "which task it trains"),
        ("train.warmup_steps=200", "is more than train.steps 100"),
        ("train.ema=1.0", "train.ema must be 0.0 to below 1.0, got 1.0"),
    ],
)
def test_wrong_overrides_are_named(recipe, override, message):
    with pytest.raises(RecipeError, match=message):
        load(recipe, [override])


def test_files_that_are_no_recipes(tmp_path):
    with pytest.raises(RecipeError, match="does not exist"):
        load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff = [")
    with pytest.raises(RecipeError, match="cannot be read"):
        load(tmp_path / "bad.toml")
