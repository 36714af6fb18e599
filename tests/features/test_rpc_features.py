"""Every feature of remote calls has a test, which misses it where it is switched off."""

from __future__ import annotations

import pytest

from tests.features.rows import Feature, features, shown
from tests.features.warm import WarmPytest

FEATURES = features("rpc.md")


@pytest.mark.parametrize("feature", FEATURES, ids=str)
def test_the_test_of_a_feature_exists(feature: Feature) -> None:
    feature.check_exists()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("feature", shown(FEATURES), ids=str)
def test_a_feature_that_is_switched_off_is_missed(feature: Feature, warm: WarmPytest) -> None:
    feature.check_missed(warm)
