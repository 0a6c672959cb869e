"""The recorder, as others ask it for an episode."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.client import Client
from std_srvs.srv import Trigger

from vga_msgs.msg import RecorderState
from vga_msgs.srv import StartEpisode, StopEpisode
from vga_policy.ros import topics
from vga_policy.ros.client.newest import Newest
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError, RefusedError

DIRECTORY = "directory"  # the recorder's parameter
GONE_AFTER = 3.0  # s
SWIFT = 1.0  # s in which a disk that is not busy has an episode
WRITTEN_WITHIN = 30.0  # s in which any disk has
PAUSE = 0.5  # s between two attempts to start


class RecorderClient:
    """Through `session`. Every request waits for its answer and raises GraphError where there is none, RefusedError
    with the recorder's reason where it does not do what was asked."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._state = Newest(session, RecorderState, topics.RECORDER_STATE, topics.LATCHED)

    @property
    def state(self) -> RecorderState | None:
        """The newest RecorderState; None while the recorder is silent."""
        return self._state.message

    @property
    def directory(self) -> Path:
        """Where the recorder writes its episodes, on its own host; it is asked."""
        (value,) = self._session.call(self._get_parameters, GetParameters.Request(names=[DIRECTORY])).values
        return Path(value.string_value).absolute()

    def record_into(self, directory: Path) -> None:
        """Has the recorder write its episodes into `directory`, of its own host."""
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=str(directory.absolute()))
        request = SetParameters.Request(parameters=[Parameter(name=DIRECTORY, value=value)])
        (result,) = self._session.call(self._set_parameters, request).results
        if not result.successful:
            raise RefusedError(result.reason, "the recorder refuses the directory")

    def start(
        self,
        task: str,
        instruction: str = "",
        operator_name: str = "",
        within: float = 0.0,
        check: Callable[[], object] = lambda: None,
    ) -> Path:
        """Starts an episode; its directory, on the recorder's host.

        within: s for which a recorder that refuses is asked again: it may discover the cell's topics later than we do.
        check: called before it is asked again; what it raises ends the attempts.
        """
        request = StartEpisode.Request(task=task, instruction=instruction, operator_name=operator_name)
        deadline = time.monotonic() + within
        while not (response := self._session.call(self._start, request)).success:
            check()
            if time.monotonic() >= deadline:
                raise RefusedError(response.message, "the recorder refuses to start")
            self._session.spin_until(lambda: False, PAUSE)
        return Path(response.path)

    def stop(self, outcome: str = "", note: str = "", slow: Callable[[], object] = lambda: None) -> str:
        """Ends the episode, or labels the one that ended without a label; what is wrong with it, empty: nothing.

        outcome: "success", "failure", "discarded", or empty where a later call gives it. note: kept with the episode.
        slow: called once where the disk is so busy that it takes longer than SWIFT.
        """
        if not self._session.spin_until(self._stop.service_is_ready, GONE_AFTER):
            raise GraphError("the recorder has gone: start it again")
        answer = self._stop.call_async(StopEpisode.Request(outcome=outcome, note=note))
        if not self._session.spin_until(answer.done, SWIFT):
            slow()
        if not self._session.spin_until(answer.done, WRITTEN_WITHIN):
            raise GraphError("the recorder does not answer")
        response = answer.result()
        if not response.path:
            raise RefusedError(response.message, "no episode is ended")
        return "" if response.success else str(response.message)

    def discard(self) -> None:
        """Labels the last episode discarded; it stays on the disk."""
        response = self._session.call(self._discard, Trigger.Request())
        if not response.success:
            raise RefusedError(response.message, "the episode is not discarded")

    @cached_property
    def _set_parameters(self) -> Client:
        return self._session.node.create_client(SetParameters, topics.RECORDER_SET_PARAMETERS)

    @cached_property
    def _get_parameters(self) -> Client:
        return self._session.node.create_client(GetParameters, topics.RECORDER_GET_PARAMETERS)

    @cached_property
    def _start(self) -> Client:
        return self._session.node.create_client(StartEpisode, topics.RECORDER_START)

    @cached_property
    def _stop(self) -> Client:
        return self._session.node.create_client(StopEpisode, topics.RECORDER_STOP)

    @cached_property
    def _discard(self) -> Client:
        return self._session.node.create_client(Trigger, topics.RECORDER_DISCARD)
