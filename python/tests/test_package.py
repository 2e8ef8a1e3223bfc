"""The package against the library and the demo bundle: `pytest python/tests`."""

import gc
import threading
from pathlib import Path

import numpy as np
import pytest

import coverslip
from coverslip import constants
from coverslip.results import ALERT, FEATURE, RESULT

BUNDLE = Path(__file__).resolve().parents[2] / "bundles/demo"


@pytest.fixture(scope="module")
def runtime():
    with coverslip.open(BUNDLE, engine="CPU") as runtime:
        yield runtime


def tissue(height, width, seed=1):
    """Pink and violet noise that passes the background gate."""
    noise = np.random.default_rng(seed).integers(0, 40, (height, width, 3))
    return (noise + np.array([170, 90, 150])).astype(np.uint8)


def begin(runtime, width, height, **fields):
    return runtime.begin(
        scanner="S", slide="L", max_frame=(width, height), extent=(0, 0, width, height), embeddings=True, **fields
    )


def played(runtime, *frames, **fields):
    height, width = 448, 448
    with begin(runtime, width, height, **fields) as slide:
        for frame, options in frames:
            slide.submit(frame, 0, 0, timeout=60.0, **options)
        results = slide.finish(timeout=120.0)
        report, summary = slide.report, slide.summary
        assert report["summary"]["state"] == "finished" and report["summary"]["results"] == summary["results"][0]
        return results, summary


def test_records_are_the_structs_of_the_header():
    assert (RESULT.itemsize, FEATURE.itemsize, ALERT.itemsize) == (392, 8, 96)
    assert RESULT["scores"].shape == (16,) and RESULT.names[-1] == "not_scanned"


def test_a_slide_gives_records_features_embeddings_and_a_table(runtime):
    pyarrow = pytest.importorskip("pyarrow")
    results, summary = played(runtime, (tissue(448, 448), {}))
    assert len(results) == 4 and summary["results"][0] == 4
    assert set(results.records["status"]) == {constants.TILE_DONE}
    width = runtime.info["embedding_width"]
    assert results.embeddings.shape == (4, width)
    table = results.to_arrow()
    assert isinstance(table, pyarrow.Table) and table.num_rows == 4
    for row in range(4):
        features = results.features_of(row)
        assert len(features) > 0 and table["feature_index"][row].as_py() == features["index"].tolist()
        assert np.array_equal(results.embedding_of(row), np.float32(table["embedding"][row].as_py()))
    assert table["status"].to_pylist() == ["DONE"] * 4
    assert table["scores"].type.list_size == 16


def test_views_and_copies_give_the_same_results(runtime):
    picture = tissue(448, 448)
    wide = np.zeros((448, 500, 3), np.uint8)
    wide[:, 20:468] = picture
    reference, _ = played(runtime, (picture, {}))
    planar = np.ascontiguousarray(picture.transpose(2, 0, 1))
    deep = picture.astype(np.uint16) * 257
    turned = picture[:, ::-1][:, ::-1]
    fortran = np.asfortranarray(picture)
    for frame, options in [
        (wide[:, 20:468], {}),
        (turned, {}),
        (fortran, {}),
        (planar, {"format": "RGB8_PLANAR"}),
        (deep, {}),
        (picture[:, :, ::-1].copy(), {"format": constants.PFNC_BGR8}),
    ]:
        found, _ = played(runtime, (frame, options))
        order, wanted = np.argsort(found.records["x"] * 999 + found.records["y"]), np.argsort(
            reference.records["x"] * 999 + reference.records["y"]
        )
        assert np.array_equal(found.embeddings[order], reference.embeddings[wanted])


def test_contiguous_frames_are_not_copied():
    picture = tissue(8, 6)
    struct = coverslip._contract.init("frame")
    planes = coverslip.Slide._describe(struct, picture, None, None)
    assert planes[0] is picture and int(coverslip._contract.ffi.cast("uintptr_t", struct.planes[0].data)) == picture.ctypes.data
    assert (struct.width, struct.height, struct.planes[0].stride, struct.planes[0].size) == (6, 8, 18, 144)
    view = picture[::2, 1:4]
    planes = coverslip.Slide._describe(struct, view, None, None)
    assert planes[0] is view and (struct.planes[0].stride, struct.planes[0].size) == (36, 117)
    rows = np.zeros((4, 9), np.uint8)
    coverslip.Slide._describe(struct, rows, "MONO12P", 6)
    assert (struct.width, struct.planes[0].stride, struct.pixel_format) == (6, 9, constants.PFNC_MONO12P)


def test_a_mask_and_channels(runtime):
    picture = tissue(448, 448)
    mask = np.ones((448, 448), bool)
    mask[:, 300:] = False
    results, summary = played(runtime, (picture, {"mask": mask}))
    assert summary["pixels_not_scanned"] == 448 * 148
    assert sorted(set(results.records["not_scanned"])) == [0.0, pytest.approx(148 / 224)]
    channels = [(np.ascontiguousarray(picture[..., c]), {"channel": c + 1}) for c in (1, 2)]
    results, summary = played(runtime, *channels)
    assert set(results.records["channels_missing"]) == {1 << constants.CHANNEL_RED}
    assert list(summary["channel_refused"]) == [4, 4, 0, 0]


def test_errors_are_exceptions(runtime):
    with pytest.raises(coverslip.CoverslipError, match="BUNDLE_INVALID: /nowhere") as caught:
        coverslip.open("/nowhere")
    assert (caught.value.code, caught.value.name) == (constants.BUNDLE_INVALID, "BUNDLE_INVALID")
    with begin(runtime, 448, 448) as slide:
        with pytest.raises(coverslip.CoverslipError, match="even width"):
            slide.submit(np.zeros((3, 3), np.uint8), 0, 0, format="BAYER_RG8")
        with pytest.raises(TypeError, match="unsigned integers"):
            slide.submit(np.zeros((4, 4), np.float32), 0, 0)
        with pytest.raises(TypeError, match="little-endian"):
            slide.submit(np.zeros((4, 4), ">u2"), 0, 0)
        with pytest.raises(TypeError, match="height x width"):
            slide.submit(np.zeros((4, 4, 2), np.uint8), 0, 0)
        assert len(slide.poll(timeout=0.01)) == 0
    with pytest.raises(coverslip.CoverslipError, match="INVALID_HANDLE"):
        slide.poll()
    slide.end()


def test_a_slide_is_polled_on_another_thread_while_it_is_scanned(runtime):
    taken = []
    with begin(runtime, 448, 448) as slide:

        def poll():
            try:
                while True:
                    taken.append(slide.poll(timeout=None))
            except coverslip.EndOfResults:
                return

        thread = threading.Thread(target=poll)
        thread.start()
        for y in range(0, 448, 224):
            slide.submit(tissue(224, 448, y), 0, y, timeout=60.0)
        rest = slide.finish()
        thread.join()
        assert sum(map(len, taken)) + len(rest) == 4
        assert len(slide.alerts) == 0


def test_a_frame_may_go_as_soon_as_it_is_submitted(runtime):
    reference, _ = played(runtime, (tissue(448, 448), {}))
    with begin(runtime, 448, 448) as slide:
        frame = tissue(448, 448)
        slide.submit(frame, 0, 0, timeout=60.0)
        frame[:] = 0
        del frame
        gc.collect()
        results = slide.finish()
    assert np.allclose(np.sort(results.embeddings, axis=0), np.sort(reference.embeddings, axis=0))
