"""What pyproject.toml cannot say: a wheel holds what is there now, not what an earlier one left in build/lib."""

import shutil

from setuptools import setup
from setuptools.command.build_py import build_py


class FreshBuild(build_py):
    """Copy modules and data into an empty folder."""

    def run(self) -> None:
        """Empty the folder first; an editable installation copies nothing."""
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(cmdclass={"build_py": FreshBuild})
