"""What has become of each view since the training data: the verdict on a live picture."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from vga_policy.viewpoint.hand import ALIKE, FOUND, HandOutline
from vga_policy.viewpoint.light import Light, compare_light
from vga_policy.viewpoint.reference import Pixels, Reference, References, narrowed
from vga_policy.viewpoint.room import ViewFeatures, align

WIDTH = 320  # px, of what is compared: enough, and fast
MOVED = 1.0  # px of those 320 that nine points of ten stay within while nothing moves
SHIFTED = 3.0  # likewise of the hand, which looks a little different before every background
TURNED = 2.0  # degrees from which a turn can be told from a shift
ROTATION = 1.4  # times the misfit of the homography that a mere turn may leave
FAR = 0.1  # of the width: a view that is so far off may be another one
STILL_SHARE, FEATURES = 0.2, 60  # of a reference's pixels, and on them: the least by which it can be compared
BLANK = 3.0  # of 255, standard deviation of a picture that shows nothing
BRIGHTNESS, TINT = 1.3, 1.12  # times as much light, and of one color, that is still the same


class Place(StrEnum):
    """Where a camera is now."""

    SAME = "unmoved"
    MOVED = "moved"
    TURNED = "turned"
    OTHER = "another camera"
    UNKNOWN = "not recognized"
    UNSEEN = "not compared"


@dataclass(frozen=True)
class ViewVerdict:
    """What a camera in a slot shows, against the reference of that slot.

    pixels: by how many of the live picture's own what stands still has moved; None where it was not found again.
    degrees: of the turn that explains it (TURNED) or would amount to the same (MOVED, of a fixed camera). shows: the
    camera whose view it is (OTHER). light: None where it was not compared. why: what keeps it from being compared
    (UNSEEN).
    """

    camera: str
    slot: int
    place: Place
    pixels: float | None = None
    degrees: float = 0.0
    shows: str = ""
    light: Light | None = None
    why: str = ""

    @property
    def darker(self) -> bool:
        """Whether there is less light than may be."""
        return self.light is not None and self.light.green < 1 / BRIGHTNESS

    @property
    def brighter(self) -> bool:
        """Whether there is more light than may be."""
        return self.light is not None and self.light.green > BRIGHTNESS

    @property
    def tinted(self) -> bool:
        """Whether its white balance is another."""
        if self.light is None:
            return False
        return any(not 1 / TINT < color < TINT for color in (self.light.red, self.light.blue))

    @property
    def same(self) -> bool:
        """Whether the policy sees what it was trained on, as far as that was compared."""
        return self.place in (Place.SAME, Place.UNSEEN) and not (self.darker or self.brighter or self.tinted)

    def __str__(self) -> str:
        return f"{self.camera}: {'; '.join(filter(None, (self._where(), *self._lit())))}"

    @property
    def remedy(self) -> str:
        """What to do about it; empty where nothing is to be done."""
        if self.place in (Place.OTHER, Place.UNKNOWN):
            return "check its serial number and slot in the cell file, and that nothing stands before it"
        if self.place in (Place.MOVED, Place.TURNED):
            return "put the camera back where it was, or record and train with it where it is"
        if self.darker or self.brighter or self.tinted:
            return "lock exposure_us, gain and white_balance_k to what they were, and light the cell as it was lit"
        return ""

    def _where(self) -> str:
        if self.place is Place.MOVED and self.pixels is None:
            return "moved: the hand is not where it was in this view"
        if self.place is Place.MOVED:
            turn = f", as much as a turn by {self.degrees:.1f}°" if self.degrees else ""
            return f"moved: what stands still is {self.pixels:.0f} px from where it was{turn}"
        if self.place is Place.TURNED:
            return f"turned by {self.degrees:.1f}°: what stands still is {self.pixels:.0f} px from where it was"
        if self.place is Place.OTHER:
            return f"wrong camera in slot {self.slot}: it shows what {self.shows} showed"
        if self.place is Place.UNKNOWN:
            return f"nothing of what slot {self.slot} showed is recognized"
        if self.place is Place.UNSEEN:
            return f"place not compared: {self.why}"
        return "unmoved"

    def _lit(self) -> list[str]:
        if self.light is None:
            return []
        said = []
        if self.darker or self.brighter:
            said.append(f"{'darker' if self.darker else 'brighter'}: {self.light.green:.2f} times the light")
        if self.tinted:
            said.append(f"other white balance: red {self.light.red:.2f}, blue {self.light.blue:.2f} against green")
        return said


class ViewComparison:
    """Compares live pictures with references, which are prepared once."""

    def __init__(self, references: References) -> None:
        self._views = [_Prepared(reference) for reference in references]

    def judge(self, camera: str, slot: int, picture: Pixels, *, hand_open: bool) -> ViewVerdict | None:
        """The verdict on the picture [H, W, 3], RGB, of a camera in a slot; None where the slot has no reference.

        hand_open: whether the hand is, as it is in the reference; a wrist camera is compared by it.
        """
        own = next((view for view in self._views if view.reference.slot == slot), None)
        if own is None:
            return None
        if own.is_wrist and not hand_open:
            return ViewVerdict(camera, slot, Place.UNSEEN, why="the hand is not open, as it is in the reference")
        scale = picture.shape[1] / own.size[1]
        best = own.look(picture)
        if best.place is not Place.UNSEEN and not best.near:
            for other in self._views:
                if other is not own and other.look(picture).near:
                    return ViewVerdict(camera, slot, Place.OTHER, shows=other.reference.name)
        return best.verdict(camera, slot, scale)


@dataclass(frozen=True)
class _Look:
    """What laying a live picture over one reference gave; pixels of the reference as it is compared."""

    place: Place
    pixels: float | None = None
    degrees: float = 0.0
    light: Light | None = None
    why: str = ""

    @property
    def near(self) -> bool:
        """Whether it is the same view, by all that can be told."""
        return self.pixels is not None and self.pixels < FAR * WIDTH

    def verdict(self, camera: str, slot: int, scale: float) -> ViewVerdict:
        pixels = None if self.pixels is None else scale * self.pixels
        return ViewVerdict(camera, slot, self.place, pixels, self.degrees, "", self.light, self.why)


class _Prepared:
    """A reference with what is looked for."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.picture = narrowed(reference.picture, WIDTH)
        self.size = self.picture.shape[:2]
        self.still: NDArray[np.bool_] = narrowed(np.where(reference.still, 255, 0).astype(np.uint8), WIDTH) > 250
        small = Reference(reference.name, reference.role, reference.slot, self.picture, self.still)
        self._hand = HandOutline(small) if reference.role == "wrist" else None
        self._features = ViewFeatures(self.picture, self.still) if self._hand is None else None

    @property
    def is_wrist(self) -> bool:
        return self._hand is not None

    def look(self, live: Pixels) -> _Look:
        """Lays a live picture of any size over the reference."""
        height, width = self.size
        if abs(live.shape[0] / live.shape[1] - height / width) > 0.01:
            return _Look(Place.UNKNOWN)
        small = np.asarray(cv2.resize(live, (width, height), interpolation=cv2.INTER_AREA))
        if small.std() < BLANK:
            return _Look(Place.UNKNOWN)
        return self._find_hand(small, self._hand) if self._hand is not None else self._find_room(small)

    def _find_room(self, live: Pixels) -> _Look:
        assert self._features is not None
        if self.still.mean() < STILL_SHARE or len(self._features.points) < FEATURES:
            return _Look(Place.UNSEEN, why="too little stood still in the training data's pictures of it")
        found = align(self._features, ViewFeatures(live), self.size)
        if found is None:
            return _Look(Place.UNKNOWN)
        height, width = self.size
        laid = cv2.warpPerspective(live, found.matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        light = compare_light(self.picture, np.asarray(laid), self.still)
        if found.pixels <= MOVED:
            return _Look(Place.SAME, found.pixels, light=light)
        turned = found.degrees >= TURNED and found.misfit <= ROTATION * found.least
        return _Look(Place.TURNED if turned else Place.MOVED, found.pixels, found.degrees, light)

    def _find_hand(self, live: Pixels, hand: HandOutline) -> _Look:
        light = compare_light(self.picture, live, self.still)
        if not hand.visible:
            return _Look(Place.UNSEEN, light=light, why="too little of the hand is in this view")
        found = hand.find(live)
        if found.likeness_in_place >= ALIKE and found.pixels <= SHIFTED:
            return _Look(Place.SAME, found.pixels, light=light)
        return _Look(Place.MOVED, found.pixels if found.likeness >= FOUND else None)
