"""Where recipes are found: the built-in ones by name, a user's own by the folder that holds its recipe.py.

Listing reads text only (a docstring, the first comment of a YAML), so that it needs neither torch nor the code.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from seqkit.errors import RecipeError, nearest

DEFAULT_PRESET = "demo"
ORIGIN = "origin.yaml"
"""Written into a copied recipe: which recipe and version it was copied from."""


@dataclass(frozen=True)
class RecipeSource:
    """A recipe's folder, before its code is run."""

    name: str
    folder: Path
    built_in: bool

    @property
    def code(self) -> Path:
        """The file with the recipe's class."""
        return self.folder / "recipe.py"

    def presets(self) -> dict[str, Path]:
        """Preset name -> YAML file, `demo` first."""
        files = sorted(path for path in self.folder.glob("*.yaml") if path.name != ORIGIN)
        return {path.stem: path for path in sorted(files, key=lambda path: path.stem != DEFAULT_PRESET)}

    def preset(self, name: str) -> Path:
        """The YAML of a preset. Raises RecipeError with the nearest name."""
        presets = self.presets()
        if name not in presets:
            raise RecipeError(f"The recipe '{self.name}' has no preset '{name}'.", hint=nearest(name, presets))
        return presets[name]

    def summary(self) -> str:
        """The first line of the recipe's docstring."""
        try:
            docstring = ast.get_docstring(ast.parse(self.code.read_text(encoding="utf-8")))
        except (SyntaxError, UnicodeDecodeError, OSError) as error:
            raise RecipeError(f"{self.code}: cannot be read as Python: {error}.") from error
        return (docstring or "").strip().partition("\n")[0]

    def digest(self) -> str:
        """A sha256 of the recipe's code, which a run keeps for the record."""
        return hashlib.sha256(self.code.read_bytes()).hexdigest()


def preset_summary(path: Path) -> str:
    """The first comment line of a preset's YAML."""
    first = path.read_text(encoding="utf-8").lstrip().partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def built_in() -> dict[str, RecipeSource]:
    """Every built-in recipe by name."""
    spec = importlib.util.find_spec("seqkit.recipes")
    if spec is None or spec.submodule_search_locations is None:
        raise RecipeError("seqkit is installed without its recipes.", hint="Install it again: pip install seqkit.")
    root = Path(next(iter(spec.submodule_search_locations)))
    folders = sorted(path.parent for path in root.glob("*/recipe.py"))
    return {folder.name: RecipeSource(folder.name, folder, built_in=True) for folder in folders}


def find(reference: str) -> tuple[RecipeSource, str | None]:
    """Resolve `NAME`, `NAME/PRESET`, `DIR` or `DIR/PRESET` to a recipe and the preset asked for (None: not said).

    A built-in name wins over a folder of the same name (write `./NAME` for the folder). Raises RecipeError.
    """
    recipes = built_in()
    name, _, preset = reference.partition("/")
    if name in recipes:
        if preset:
            recipes[name].preset(preset)
        return recipes[name], preset or None
    path = Path(reference)
    for folder, chosen in ((path, None), (path.parent, path.name)):
        if (folder / "recipe.py").is_file():
            source = RecipeSource(folder.resolve().name, folder.resolve(), built_in=False)
            if chosen:
                source.preset(chosen)
            return source, chosen
    if path.is_dir():
        raise RecipeError(f"{path} is a folder without a recipe.py.", hint="'seqkit recipes copy NAME DIR' makes one.")
    raise RecipeError(
        f"There is no recipe '{name}'.",
        hint=f"{nearest(name, recipes)} 'seqkit recipes' lists them; a folder needs a recipe.py.",
    )


@cache
def load(source: RecipeSource) -> type[Any]:
    """Run a recipe's code and return its class, the one subclass of `Recipe` that the file defines."""
    from seqkit.recipe import Recipe

    if source.built_in:
        module_name = f"seqkit.recipes.{source.name}.recipe"
    else:
        # The folder counts too: a copy with the same code is another module, else its classes would replace those of
        # the first, whose objects could then not be sent between processes.
        place = hashlib.sha256(f"{source.folder} {source.digest()}".encode()).hexdigest()
        module_name = f"seqkit_recipe_{source.name}_{place[:12]}"
    spec = importlib.util.spec_from_file_location(module_name, source.code)
    if spec is None or spec.loader is None:
        raise RecipeError(f"{source.code}: cannot be loaded as a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        if source.built_in:
            raise
        raise RecipeError(f"{source.code}: failed while it was loaded: {type(error).__name__}: {error}.") from error
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Recipe) and value.__module__ == module_name
    ]
    if len(found) != 1:
        raise RecipeError(
            f"{source.code}: defines {len(found)} subclasses of seqkit.recipe.Recipe; exactly one is needed."
        )
    return found[0]
