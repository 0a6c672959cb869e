"""Process of the simulated cell that computes the physics and speaks libfranka, 1000 times a second."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import time

from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell

from vga_bringup.sim.physics.children import Termination, claim_processor
from vga_bringup.sim.physics.pacing import Pacer
from vga_bringup.sim.physics.placing import PlacementInbox
from vga_bringup.sim.physics.server import AddressUnavailable, CellServer
from vga_bringup.sim.physics.simulator import CellSimulator
from vga_bringup.sim.physics.state import StateWriter
from vga_bringup.sim.scene.objects import Objects
from vga_bringup.sim.tasks.registry import objects_of

STEP_S = 0.001
PUBLISH_EVERY = 4  # steps: cameras and referees need no newer state, and a slow computer has no time to spare
MAX_BURST_S = 0.05  # a hold-up of up to this long is made up for
RETRY_S = 2.0


def serve(cell: Cell, things: Objects, termination: Termination) -> None:
    """Runs the cell's arm at its address until terminated; waits while another program has the ports.

    things: on the table.
    """
    simulator = CellSimulator(cell.arm.home, [camera.name for camera in cell.cameras], things)
    with simulator:
        simulator.start()
        server = _open(simulator, cell.arm.ip, termination)
        if server is None:
            return
        inbox = PlacementInbox(cell.arm.ip, things)
        state = StateWriter(cell.arm.ip, simulator.model)
        try:
            # Nothing made so far goes away, and what a step makes is freed by reference count: no pauses to collect it.
            gc.collect()
            gc.freeze()
            gc.disable()
            pacer = Pacer(STEP_S, MAX_BURST_S)
            turn = 0
            while not termination:
                if (placements := inbox.take()) is not None:
                    simulator.place(placements)
                    inbox.grant()
                    turn = 0
                server.step()
                if turn == 0:
                    state.write(simulator.model, simulator.data)
                turn = (turn + 1) % PUBLISH_EVERY
                pacer.wait()
        finally:
            state.close()
            inbox.close()
            server.close()


def _open(simulator: CellSimulator, address: str, termination: Termination) -> CellServer | None:
    said = ""
    while not termination:
        try:
            return CellServer(simulator, address)
        except AddressUnavailable as reason:
            if str(reason) != said:
                said = str(reason)
                print(f"sim_cell: {reason}; trying again every {RETRY_S:g} s", file=sys.stderr, flush=True)
            time.sleep(RETRY_S)
    return None


def main() -> None:
    """Entry point of the process; started by `sim_cell`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", required=True, help="path of the cell file")
    parser.add_argument("--task", default="", help="whose objects are on the table")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="process whose end ends this one")
    arguments = parser.parse_args()
    logging.getLogger("franky_sim").setLevel(logging.CRITICAL)  # it logs a client's going with a stack trace
    claim_processor(-10)  # a robot's controller does not share its processor at all
    serve(load_cell(arguments.cell), objects_of(arguments.task), Termination(arguments.parent))


if __name__ == "__main__":
    main()
