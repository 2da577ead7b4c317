"""What goes wrong in the lab, always with the way out."""

from __future__ import annotations


class LabError(Exception):
    """Something about the lab that the user can act on: what was found, and the remedy."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}\n{remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy
