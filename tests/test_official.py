"""Parity with the official weights: our networks hold them and give the numbers they are known for."""

from pathlib import Path

import pytest

from istapp import methods
from istapp.basics.errors import UserError
from istapp.experiments.evaluation import evaluate


def mean(method: methods.Method, ratio: float, images: list[str] | None = None) -> float:
    from istapp.images import datasets

    rows = evaluate(method, datasets.load("Set11", images=images), [ratio])
    return sum(row["psnr"] for row in rows) / len(rows)


@pytest.fixture(scope="module")
def plus_plus(official_dir: Path) -> methods.Method:
    return methods.get("ista-net-pp", weights=official_dir / "istanet-plus-plus" / "net_params_401.pkl")


def test_the_official_checkpoint_is_our_network(plus_plus: methods.Method) -> None:
    assert plus_plus.parameter_count == 760_220
    rho, sigma = plus_plus.conditions(0.1)
    # Known of the released weights: most steps lie beyond the classical bound, the second most of all.
    assert rho[0, 1].item() == pytest.approx(6.76, abs=0.01)
    assert sigma.min() > 0.06 and sigma.max() < 0.29


def test_one_image_of_set11(plus_plus: methods.Method, data_dir: Path) -> None:
    assert mean(plus_plus, 0.1, ["house"]) > mean(methods.get("linear"), 0.1, ["house"]) + 4


def test_one_image_with_the_official_matrices(official_dir: Path, data_dir: Path) -> None:
    plus = methods.get("ista-net-plus", weights=official_dir / "istanet-plus" / "ratio_30.pkl")
    assert plus.parameter_count == 336_978 and plus.sampling(0.3).kind == "official"
    assert mean(plus, 0.3, ["house"]) > mean(methods.get("linear"), 0.3, ["house"]) + 3
    with pytest.raises(UserError, match="30 %, not 10 %"):
        plus.sampling(0.1)


@pytest.mark.verify
@pytest.mark.parametrize(("ratio", "low", "high"), [(0.1, 28.3, 28.5), (0.3, 34.8, 34.95), (0.5, 38.65, 38.8)])
def test_ista_net_pp_on_set11(plus_plus: methods.Method, data_dir: Path, ratio: float, low: float, high: float) -> None:
    assert low <= mean(plus_plus, ratio) <= high


@pytest.mark.verify
@pytest.mark.parametrize(("percent", "expected"), [(10, 26.49), (30, 33.70)])
def test_ista_net_plus_on_set11(official_dir: Path, data_dir: Path, percent: int, expected: float) -> None:
    plus = methods.get("ista-net-plus", weights=official_dir / "istanet-plus" / f"ratio_{percent}.pkl")
    assert mean(plus, percent / 100) == pytest.approx(expected, abs=0.02)


def test_matrices_are_found_through_the_environment(
    official_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "ratio_10.pkl"
    elsewhere.write_bytes((official_dir / "istanet-plus" / "ratio_10.pkl").read_bytes())
    assert methods.get("ista-net-plus", weights=elsewhere).ratios == (0.1,)
    monkeypatch.delenv("ISTAPP_OFFICIAL")
    with pytest.raises(UserError, match="set ISTAPP_OFFICIAL"):
        methods.get("ista-net-plus", weights=elsewhere)
    nameless = tmp_path / "x.pkl"
    elsewhere.rename(nameless)
    with pytest.raises(UserError, match="ratio_N"):
        methods.get("ista-net-plus", weights=nameless)


def test_one_networks_weights_are_refused_by_the_other(official_dir: Path) -> None:
    with pytest.raises(UserError, match="does not hold weights of ISTA-Net\\+\\+"):
        methods.get("ista-net-pp", weights=official_dir / "istanet-plus" / "ratio_10.pkl")
    with pytest.raises(UserError, match="does not hold weights of ISTA-Net\\+$"):
        methods.get("ista-net-plus", weights=official_dir / "istanet-plus-plus" / "net_params_401.pkl")
