from collections.abc import Iterator

import pytest

TINY = "muse-tiny"


@pytest.fixture(scope="session")
def tiny_muse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a model that is quick and knows nothing: what is promised must hold whatever the weights."""
    import torch

    from musegen.core.checkpoint import save
    from musegen.music import vocabulary as v
    from musegen.music.muse import MuseConfig
    from musegen.music.tasks import build_muse

    folder = tmp_path_factory.mktemp("checkpoints")
    shape = MuseConfig(d_model=32, n_heads=2, n_layers=1, context=256, block=32, n_summary=4)
    torch.manual_seed(0)
    model = build_muse(shape)
    config = {
        "family": "muse",
        "model": vars(shape),
        "vocabulary": v.fingerprint(),
        "styles": ["bach", "saint-saens", "My Band"],
        "pieces": {"bach": 2, "saint-saens": 1, "My Band": 1},
        "settings": {
            "bach": [{"instruments": ["organ"], "meter": "3/2", "tempo": 60, "velocity": 24}],
            "saint-saens": [{"instruments": ["piano", "violin"], "meter": "6/8", "tempo": 92, "velocity": 104}],
            "My Band": [{"instruments": ["piano", "drums"], "meter": "4/4", "tempo": 120}],
        },
    }
    save(folder / TINY, model.state_dict(), config, torch.float16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEGEN_CHECKPOINTS", str(folder))
        yield TINY
