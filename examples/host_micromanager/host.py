#!/usr/bin/env python3
"""A slide as an acquisition of Micro-Manager. See README.md."""

from __future__ import annotations

import argparse
import sys
import threading
from dataclasses import dataclass

import numpy as np
import useq
from pymmcore_plus import CMMCorePlus

import coverslip
from coverslip import constants

#: Micro-Manager's pixel types, and the formats that its images then have.
FORMATS = {"8bit": "MONO8", "16bit": "MONO16", "32bitRGB": "RGB8", "64bitRGB": "RGB16"}
#: Alerts for which scanning a box again may help; for the others the run is stopped.
WORTH_REPEATING = (constants.ALERT_FOCUS_LOSS, constants.ALERT_BANDING)


@dataclass(frozen=True)
class Camera:
    """What the slide must know of the camera."""

    width: int
    height: int
    format: str
    #: The highest level that it delivers.
    white: int
    #: Micrometres per pixel.
    mpp: float

    @staticmethod
    def of(core: CMMCorePlus, pixel_type: str, mpp: float) -> Camera:
        width, height = core.getImageWidth(), core.getImageHeight()
        # The core states the depth of a whole pixel for some colour types.
        depth = 8 if pixel_type == "32bitRGB" else min(core.getImageBitDepth(), 16)
        return Camera(width, height, FORMATS[pixel_type], (1 << depth) - 1, mpp)

    def corner(self, x_um: float, y_um: float) -> tuple[int, int]:
        """The upper left pixel of an image around a place of the stage, whose y points up."""
        return round(x_um / self.mpp - self.width / 2), round(-y_um / self.mpp - self.height / 2)


def demo_core(pixel_type: str, arguments: argparse.Namespace) -> CMMCorePlus:
    """The devices: those of a configuration, or the demo camera and its stage."""
    core = CMMCorePlus.instance()
    adapters = arguments.adapters
    if adapters is None:
        import mm_test_adapters

        adapters = mm_test_adapters.device_adapter_path()
    core.setDeviceAdapterSearchPaths([adapters])
    if arguments.config is not None:
        core.loadSystemConfiguration(arguments.config)
        return core
    core.loadDevice("Camera", "DemoCamera", "DCam")
    core.loadDevice("XY", "DemoCamera", "DXYStage")
    core.loadDevice("Shutter", "DemoCamera", "DShutter")
    core.initializeAllDevices()
    core.setCameraDevice("Camera")
    core.setXYStageDevice("XY")
    core.setShutterDevice("Shutter")
    core.setProperty("Camera", "PixelType", pixel_type)
    core.setExposure(5)
    return core


class Host:
    """Gives the images of a run to a slide, and listens to its alerts."""

    def __init__(
        self, core: CMMCorePlus, slide: coverslip.Slide, camera: Camera, arguments: argparse.Namespace
    ) -> None:
        self.core, self.slide, self.camera = core, slide, camera
        self.columns, self.on_alert, self.patience = arguments.columns, arguments.on_alert, arguments.patience
        self.frames = self.scan_pass = 0
        self.boxes: list[tuple[int, int, int, int]] = []
        self.parts: list[coverslip.Results] = []
        self.failure: Exception | None = None
        self.done = threading.Event()
        core.mda.events.frameReady.connect(self.frame_ready)
        core.mda.events.sequenceFinished.connect(lambda _: self.done.set())

    def frame_ready(self, image: np.ndarray, event: useq.MDAEvent, _meta: object = None) -> None:
        """One image, on the engine's thread."""
        try:
            x, y = self.camera.corner(event.x_pos or 0.0, event.y_pos or 0.0)
            self.slide.submit(
                image,
                x,
                y,
                format=self.camera.format,
                timeout=60.0,
                frame_id=self.frames + 1,
                # A row of the grid is a strip: a loss of focus is told by strip.
                group_id=1 + event.index.get("g", 0) // self.columns,
                scan_pass=self.scan_pass,
            )
            self.frames += 1
            self.parts.append(self.slide.poll(timeout=self.patience))
            self.hear()
        except Exception as failure:  # The engine would only log it.
            self.failure = failure
            self.core.mda.cancel()

    def hear(self) -> None:
        """What the library has to say while the slide is on the stage."""
        names = {getattr(constants, name): name[6:] for name in vars(constants) if name.startswith("ALERT_")}
        for alert in self.slide.alerts:
            code = int(alert["code"])
            print(f"alert {names[code]}: strength {alert['strength']:.3g}, threshold {alert['threshold']:.3g}")
            if self.on_alert == "stop":
                self.core.mda.cancel()
            elif self.on_alert == "repeat" and code in WORTH_REPEATING and alert["width"]:
                self.boxes.append(tuple(int(alert[name]) for name in ("x", "y", "width", "height")))

    def run(self, events: list[useq.MDAEvent]) -> None:
        self.done.clear()
        self.core.run_mda(events)
        self.done.wait()
        if self.failure is not None:
            raise self.failure

    def settle(self) -> None:
        """Waits for the results of what is complete: only then is it known what must be scanned again."""
        while len(part := self.slide.poll(timeout=1.0)):
            self.parts.append(part)
            self.hear()

    def in_boxes(self, event: useq.MDAEvent) -> bool:
        x, y = self.camera.corner(event.x_pos or 0.0, event.y_pos or 0.0)
        width, height = self.camera.width, self.camera.height
        return any(x < bx + w and bx < x + width and y < by + h and by < y + height for bx, by, w, h in self.boxes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--pixel-type", choices=FORMATS, default="16bit")
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--columns", type=int, default=3)
    parser.add_argument("--mpp", type=float, default=0.5, help="micrometres per pixel of the camera")
    parser.add_argument("--patience", type=float, default=0.0, metavar="S", help="wait so long for results at each field")
    parser.add_argument("--on-alert", choices=("report", "stop", "repeat"), default="report")
    parser.add_argument("--white", type=int, help="level of white [default: the camera's highest]")
    parser.add_argument("--camera", action="append", default=[], metavar="NAME=VALUE", help="a property of the camera")
    parser.add_argument("--adapters", help="folder of device adapters [default: mm-test-adapters]")
    parser.add_argument("--config", help="Micro-Manager's configuration [default: the demo camera and stage]")
    arguments = parser.parse_args()

    core = demo_core(arguments.pixel_type, arguments)
    for setting in arguments.camera:
        core.setProperty(core.getCameraDevice(), *setting.split("=", 1))
    camera = Camera.of(core, arguments.pixel_type, arguments.mpp)
    grid = useq.GridRowsColumns(
        rows=arguments.rows,
        columns=arguments.columns,
        overlap=(10, 10),
        fov_width=camera.width * camera.mpp,
        fov_height=camera.height * camera.mpp,
        mode="row_wise",
    )
    events = list(useq.MDASequence(grid_plan=grid, stage_positions=[(0, 0)]))
    corners = [camera.corner(event.x_pos, event.y_pos) for event in events]
    left, top = (min(corner[axis] for corner in corners) for axis in (0, 1))
    right, bottom = max(x for x, _ in corners) + camera.width, max(y for _, y in corners) + camera.height

    with coverslip.open(arguments.bundle, engine="CPU") as runtime, runtime.begin(
        scanner="demo-microscope",
        slide="demo-grid",
        mpp=camera.mpp,
        max_frame=(camera.width, camera.height),
        extent=(left, top, right - left, bottom - top),
        spread=(right - left, bottom - top),
        tone_white=float(arguments.white or camera.white),
    ) as slide:
        host = Host(core, slide, camera, arguments)
        host.run(events)
        host.settle()
        again = 0
        if host.boxes:
            host.scan_pass = 1
            repeated = [event for event in events if host.in_boxes(event)]
            again = len(repeated)
            host.run(repeated)
        host.parts.append(slide.finish())
        host.hear()
        results = coverslip.Results.joined(host.parts, 0)
        return report(slide, results, host, (len(events), again), arguments.on_alert)


def report(
    slide: coverslip.Slide, results: coverslip.Results, host: Host, planned: tuple[int, int], on_alert: str
) -> int:
    summary, camera = slide.summary, host.camera
    places = {(int(r["column"]), int(r["row"]), int(r["pass"])) for r in results.records}
    done = int(np.count_nonzero(results.records["status"] == constants.TILE_DONE))
    pixels = sum(summary[f"pixels_{what}"] for what in ("used", "duplicate", "late", "outside", "not_scanned"))
    print(
        f"{camera.format}: {host.frames} of {sum(planned)} frames, {planned[1]} of them again; {len(results)} results, "
        f"{done} analysed, {summary['alerts']} alerts; {pixels} pixels, {summary['pixels_duplicate']} of them twice"
    )
    stopped = on_alert == "stop" and summary["alerts"] > 0
    if stopped:
        print("an alert stopped the run")
    sound = (
        len(places) == len(results) == summary["opened"]
        and pixels == host.frames * camera.width * camera.height
        and summary["frames_accepted"] == host.frames
        and (host.frames == sum(planned) or stopped)
    )
    print("every pixel is counted, every tile has one result per pass" if sound else f"the counts do not add up: {summary}")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
