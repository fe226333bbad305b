"""`assay push`: a release or a model to the Hugging Face Hub."""

import sys
from pathlib import Path

from cli.exits import DONE
from handover.contents import HandoverError
from handover.hub_upload import Origin, Upload, of_model, of_release, origin_of, push
from resources.lake import Lake
from resources.settings import Settings


def release(folder: Path, repository: str, public: bool, dry_run: bool) -> int:
    """Push a release's folder; returns the exit status.

    Raises:
        HandoverError: it is no release, or the Hub refused it.
    """
    return _send(of_release(folder, repository), public, dry_run)


def model(
    settings: Settings, lake: Lake, name: str, repository: str, given: Origin, public: bool, dry_run: bool
) -> int:
    """Push an arm of the final models, or a folder; returns the exit status.

    Raises:
        HandoverError: there is no such model, or the Hub refused it.
    """
    folder, origin = Path(name), given
    if not folder.is_dir():
        with lake.connect() as con:
            rows = con.execute("SELECT path FROM final_reward_model WHERE model = $model", {"model": name}).fetchall()
            if not rows:
                raise HandoverError(f"{name}: neither a folder nor an arm that has been trained")
            folder = lake.model(rows[0][0])
            origin = origin_of(con, name, settings.training.backbone.name, given)
    return _send(of_model(folder, repository, origin), public, dry_run)


def _send(what: Upload, public: bool, dry_run: bool) -> int:
    for note in what.notes:
        print(f"Note: {note}.", file=sys.stderr)
    seen = "public" if public else "private"
    size = f"{len(what.files)} files, {what.size / 1e6:,.1f} MB"
    if dry_run:
        print(f"Would push {size} to the {what.kind} {what.repository}, {seen} if it is made new:")
        for name, file in sorted(what.files.items()):
            print(f"  {name}  {len(file) if isinstance(file, bytes) else file.stat().st_size:,}")
        page = what.files["README.md"]
        print((page if isinstance(page, bytes) else page.read_bytes()).decode().partition("\n---\n")[0])
        return DONE
    revision = push(what, public)
    print(f"{size} pushed to the {what.kind} {what.repository}, {seen} if it was made new. Revision {revision}")
    return DONE
