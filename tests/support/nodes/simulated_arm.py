"""The arm of a cell file without cameras, served at an address until killed: `simulated_arm.py CELL ADDRESS`."""

import sys
import time

from vga_bringup.sim.physics.server import CellServer
from vga_bringup.sim.physics.simulator import CellSimulator
from vga_policy.cell.loading import load_cell


def main(cell, address):
    with CellSimulator(load_cell(cell).arm.home) as simulator:
        server = CellServer(simulator, address)
        simulator.start()
        print("ready", flush=True)
        deadline = time.perf_counter()
        while True:
            server.step()
            deadline = max(deadline + 0.001, time.perf_counter() - 0.05)
            time.sleep(max(0.0, deadline - time.perf_counter()))


if __name__ == "__main__":
    main(*sys.argv[1:])
