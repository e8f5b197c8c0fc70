"""What `list` shows of families, domains and recipes."""

from maquette.pipelines.console.extras import install_line


def test_lists(maquette):
    families, domains = maquette("list", "families").stdout, maquette("list", "domains").stdout
    assert "toy-line" in families
    assert "a straight line" in families
    assert "points on a circle" in domains
    assert "quick" in maquette("list", "recipes", "toy").stdout


def test_families_are_listed_by_folder_and_readable_at_80_columns(capsys, monkeypatch):
    from maquette.core.families import families
    from maquette.pipelines.console.screen import Terminal
    from maquette.pipelines.listing import families_tables

    monkeypatch.setenv("COLUMNS", "80")
    with Terminal() as screen:
        for title, listing in families_tables():
            screen.table(title, *listing)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    folders = {part.partition("\n")[0]: part for part in printed.split("families: ")[1:]}
    assert list(folders) == sorted(folders)
    assert "toy-line" in folders["others"]  # from another distribution
    spline = " ".join(folders["flows"].partition("\nspline ")[2].split())
    assert "can: sample, density, encode models: vector, field, product; supports: real" in spline
    words = set(printed.split())
    assert {word for _, config in families.items() for word in config.reference.split()} <= words  # none is broken


def test_a_domain_without_its_extra_is_listed_with_the_remedy(maquette, monkeypatch):
    from maquette.domains import domains

    def missing() -> None:
        raise ModuleNotFoundError("No module named 'astropy'", name="astropy")

    monkeypatch.setitem(domains._loaders, "boxes", missing)
    result = maquette("list", "domains")
    assert result.exit_code == 0
    assert f"needs astropy: {install_line('cosmology')}" in result.stdout
