"""The library's pool with real workers: what comes out, in which order, and what is refused."""

import asyncio
import gc
import io
import random
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import watcherd
from tests.imaging.pictures import quarters, saved, turned
from watcherd import ImageProcessingError, ImageProcessingPool, PoolError, ProcessedImage
from watcherd.model import Reason
from watcherd.pool.library import pool as library
from watcherd.pool.library.supervisor import Supervisor
from watcherd.settings import LimitSettings, PoolSettings

JPEG = saved(quarters(), "JPEG", quality=95)
NO_PICTURE = b"a letter to a friend"
CUT = JPEG[: len(JPEG) // 2]
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def pool() -> Iterator[ImageProcessingPool]:
    with ImageProcessingPool(2, max_dimension=100) as one:
        yield one


def many(count: int) -> list[bytes]:
    """Pictures that are told apart by their width."""
    return [saved(quarters(40 + number, 30), "PNG") for number in range(count)]


def widths(results: list[Any]) -> list[int]:
    return [result.width for result in results]


def chunks(png: bytes) -> set[bytes]:
    kinds, at = set(), 8
    while at < len(png):
        kinds.add(png[at + 4 : at + 8])
        at += 12 + int.from_bytes(png[at : at + 4])
    return kinds


def picture(result: ProcessedImage) -> Image.Image:
    image = Image.open(io.BytesIO(result.standardized_data))
    image.load()
    return image


def distance(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


# ------------------------------------------------------------------------------------------------ what comes out


@pytest.mark.parametrize(
    "image",
    [
        JPEG,
        saved(quarters(mode="L"), "JPEG"),
        saved(quarters(mode="CMYK"), "JPEG"),
        saved(quarters(mode="P"), "GIF"),
        saved(quarters(mode="LA"), "PNG"),
        saved(quarters(mode="1"), "PNG"),
        turned("JPEG", 6),
    ],
    ids=["rgb", "grey", "cmyk", "palette", "grey_alpha", "black_and_white", "turned"],
)
def test_a_picture_is_rgb_without_metadata_and_within_the_dimension(pool: ImageProcessingPool, image: bytes) -> None:
    result = pool.submit(image).result(WITHIN_S)

    shown = picture(result)
    assert (shown.mode, shown.size, shown.info) == ("RGB", (result.width, result.height), {})
    assert chunks(result.standardized_data) == {b"IHDR", b"IDAT", b"IEND"}
    assert max(shown.size) == 100


def test_a_picture_is_upright_and_its_original_size_is_that_of_the_file(pool: ImageProcessingPool) -> None:
    result = pool.submit(turned("JPEG", 6)).result(WITHIN_S)

    assert (result.width, result.height) == (100, 75)
    assert result.original_size == (120, 160)


def test_transparency_is_shown_on_white(pool: ImageProcessingPool) -> None:
    clear = saved(Image.new("RGBA", (20, 10), (200, 0, 0, 0)), "PNG")

    assert picture(pool.submit(clear).result(WITHIN_S)).getcolors() == [(200, (255, 255, 255))]


def test_nothing_is_enlarged(pool: ImageProcessingPool) -> None:
    result = pool.submit(saved(quarters(20, 10), "PNG")).result(WITHIN_S)

    assert (result.width, result.height) == (20, 10)


def test_pictures_that_look_alike_have_like_hashes(pool: ImageProcessingPool) -> None:
    coarse = Image.frombytes("RGB", (12, 8), random.Random(1).randbytes(12 * 8 * 3))
    photo = coarse.resize((400, 300), Image.Resampling.BICUBIC)
    one, copy, other = pool.map([saved(photo, "PNG"), saved(photo, "JPEG", quality=60), JPEG])

    assert isinstance(one, ProcessedImage)
    assert isinstance(copy, ProcessedImage)
    assert isinstance(other, ProcessedImage)
    assert re.fullmatch("[0-9a-f]{16} [0-9a-f]{16}", f"{one.phash} {one.dhash}")
    assert max(distance(one.phash, copy.phash), distance(one.dhash, copy.dhash)) <= 6
    assert min(distance(one.phash, other.phash), distance(one.dhash, other.dhash)) > 10


def test_the_time_is_that_of_the_work(pool: ImageProcessingPool) -> None:
    assert 0 < pool.submit(JPEG).result(WITHIN_S).processing_time_ms < WITHIN_S * 1000


# -------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("image", "reason"),
    [(NO_PICTURE, Reason.UNSUPPORTED), (b"", Reason.UNSUPPORTED), (CUT, Reason.TRUNCATED)],
    ids=["no_picture", "empty", "cut_off"],
)
def test_a_bad_image_raises_with_the_reason(pool: ImageProcessingPool, image: bytes, reason: Reason) -> None:
    with pytest.raises(ImageProcessingError) as caught:
        asyncio.run(pool.process_image(image))

    assert caught.value.reason == reason
    assert caught.value.detail in str(caught.value)


def test_an_image_beyond_the_limits_is_refused_with_the_number() -> None:
    with ImageProcessingPool(1, limits=LimitSettings(max_pixels=100)) as pool:
        error = pool.submit(JPEG).exception(WITHIN_S)

    assert isinstance(error, ImageProcessingError)
    assert error.reason is Reason.TOO_MANY_PIXELS
    assert "19,200 pixels" in error.detail


def test_an_image_beyond_the_memory_budget_is_refused_with_the_number() -> None:
    with ImageProcessingPool(1, settings=PoolSettings(memory_bytes=1 << 20)) as pool:
        error = pool.submit(JPEG).exception(WITHIN_S)

    assert isinstance(error, ImageProcessingError)
    assert error.reason is Reason.TOO_MUCH_MEMORY
    assert "budget of 1 MiB" in error.detail


@pytest.mark.parametrize("image", ["holiday.jpg", None, 5, Path("holiday.jpg")])
def test_what_is_not_bytes_is_a_mistake_of_the_program(pool: ImageProcessingPool, image: Any) -> None:
    with pytest.raises(TypeError, match=f"an image is bytes, not {type(image).__name__}"):
        pool.submit(image)


def test_whatever_holds_bytes_will_do(pool: ImageProcessingPool) -> None:
    assert widths(list(pool.map([bytearray(JPEG), memoryview(JPEG)]))) == [100, 100]


@pytest.mark.parametrize("setting", [{"max_workers": 0}, {"max_workers": 65}, {"max_dimension": 0}])
def test_settings_out_of_range_are_named(setting: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        ImageProcessingPool(**setting)  # type: ignore[arg-type]


def test_settings_are_whole_numbers_of_whatever_kind() -> None:
    class Two:
        def __index__(self) -> int:
            return 2

    pool = ImageProcessingPool(Two(), max_dimension=Two())  # type: ignore[arg-type]
    assert (pool.max_workers, pool.max_dimension) == (2, 2)


@pytest.mark.parametrize(
    "setting", [{"max_workers": 2.5}, {"max_workers": True}, {"max_workers": "4"}, {"max_dimension": None}]
)
def test_settings_that_are_no_whole_numbers_are_named(setting: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"{next(iter(setting))} is .* whole number"):
        ImageProcessingPool(**setting)


# ------------------------------------------------------------------------------------------------- many at a time


def test_a_batch_keeps_the_order_and_has_an_error_in_its_place(pool: ImageProcessingPool) -> None:
    images = many(20)
    images[7] = NO_PICTURE
    told: dict[int, Any] = {}

    results = asyncio.run(pool.process_batch(images, on_complete=lambda index, result: told.update({index: result})))

    assert isinstance(results[7], ImageProcessingError)
    assert widths(results[:7] + results[8:]) == [40 + number for number in range(20) if number != 7]
    assert told == dict(enumerate(results))


def test_a_batch_may_be_empty(pool: ImageProcessingPool) -> None:
    assert asyncio.run(pool.process_batch([])) == []


def test_a_batch_ends_with_what_on_complete_raises(pool: ImageProcessingPool) -> None:
    def report(index: int, _result: object) -> None:
        raise LookupError(index)

    with pytest.raises(LookupError):
        asyncio.run(pool.process_batch(many(30), report))


def test_what_on_complete_gives_to_be_awaited_is_awaited(pool: ImageProcessingPool) -> None:
    told: list[int] = []

    async def report(index: int, _result: object) -> None:
        await asyncio.sleep(0)
        told.append(index)

    asyncio.run(pool.process_batch(many(10), report))

    assert sorted(told) == list(range(10))


def test_a_batch_is_taken_only_as_far_as_it_is_worked_on(pool: ImageProcessingPool) -> None:
    taken = []

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(1)
            yield JPEG

    def enough(index: int, _result: object) -> None:
        if index == 3:
            raise StopAsyncIteration

    with pytest.raises(StopAsyncIteration):
        asyncio.run(pool.process_batch(endless(), enough))

    assert len(taken) < 30


def test_batches_of_several_loops_and_threads_share_the_workers(pool: ImageProcessingPool) -> None:
    seen: dict[int, list[int]] = {}

    def one(number: int) -> None:
        seen[number] = widths(asyncio.run(pool.process_batch(many(6))))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WITHIN_S)

    assert seen == {number: [40, 41, 42, 43, 44, 45] for number in range(3)}


def test_map_keeps_the_order_and_stops_when_it_is_closed(pool: ImageProcessingPool) -> None:
    taken = []
    results = pool.map(taken.append(number) or image for number, image in enumerate(many(40)))  # type: ignore[func-returns-value]

    assert widths([next(results), next(results)]) == [40, 41]
    results.close()  # type: ignore[attr-defined]
    assert len(taken) < 20


# ------------------------------------------------------------------------------------------------------ its life


def test_outside_its_context_a_pool_says_what_to_do() -> None:
    pool = ImageProcessingPool(1)

    for use in (lambda: pool.submit(JPEG), lambda: pool.map([]), lambda: asyncio.run(pool.process_image(JPEG))):
        with pytest.raises(PoolError, match="async with ImageProcessingPool"):
            use()


def test_a_pool_can_be_entered_again() -> None:
    pool = ImageProcessingPool(1)

    for _ in range(2):
        with pool:
            assert widths(list(pool.map(many(3)))) == [40, 41, 42]
    with pytest.raises(PoolError):
        pool.submit(JPEG)


def test_a_pool_keeps_nothing_of_the_runs_before() -> None:
    before = supervisors()
    pool = ImageProcessingPool(1)

    for _ in range(3):
        with pool:
            pass

    assert supervisors() == before


def supervisors() -> int:
    gc.collect()
    return sum(isinstance(one, Supervisor) for one in gc.get_objects())


def test_leaving_the_context_waits_for_what_was_submitted() -> None:
    with ImageProcessingPool(1) as pool:
        futures = [pool.submit(image) for image in many(4)]

    assert widths([future.result(0) for future in futures]) == [40, 41, 42, 43]


def test_leaving_the_asynchronous_context_waits_for_what_was_submitted() -> None:
    async def use() -> list[int]:
        async with ImageProcessingPool(1) as pool:
            tasks = [asyncio.create_task(pool.process_image(image)) for image in many(3)]
            await asyncio.sleep(0)  # lets the tasks begin
        return widths([await task for task in tasks])

    assert asyncio.run(use()) == [40, 41, 42]


def test_workers_that_cannot_start_fail_what_waits_and_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHERD_WORKER_MODULE", "no.such.module")

    with ImageProcessingPool(1) as pool:
        error = pool.submit(JPEG).exception(WITHIN_S)

    assert isinstance(error, PoolError)
    assert "No module named" in str(error)


def test_a_pool_that_may_use_little_of_the_processors_rests_and_goes_on() -> None:
    with ImageProcessingPool(2, settings=PoolSettings(cpu_limit=0.4)) as pool:
        assert widths(list(pool.map(many(10)))) == [40 + number for number in range(10)]


def test_the_shared_pool_takes_no_dimension_of_nothing() -> None:
    with pytest.raises(ValueError, match="max_dimension is 0"):
        watcherd.get_processing_pool(max_dimension=0)


def test_the_shared_pool_is_one_until_it_is_shut_down() -> None:
    try:
        pool = watcherd.get_processing_pool(1, max_dimension=50)

        assert watcherd.get_processing_pool() is pool
        assert asyncio.run(pool.process_image(JPEG)).width == 50
        with pytest.raises(ValueError, match="other settings"):
            watcherd.get_processing_pool(max_dimension=60)
        watcherd.shutdown_processing_pool()
        with pytest.raises(PoolError):
            pool.submit(JPEG)
        assert watcherd.get_processing_pool(1) is not pool
    finally:
        watcherd.shutdown_processing_pool()


# ------------------------------------------------------------------------------------------------- as it is used


def examples() -> list[str]:
    """The programs in the module's docstring."""
    blocks = re.findall(r"(?:^ {4}.*\n|^\n)+", library.__doc__ or "", re.MULTILINE)
    return [textwrap.dedent(block) for block in blocks if "ImageProcessingPool" in block]


def test_the_examples_run_as_they_stand_and_without_a_main_guard(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(JPEG)
    given = f"import pathlib\nimages = [pathlib.Path({str(tmp_path / 'one.jpg')!r}).read_bytes(), b'no picture']\n"
    program = tmp_path / "program.py"
    program.write_text(given + "\n".join(examples()))

    done = subprocess.run([sys.executable, "-W", "error", program], capture_output=True, text=True, check=False)

    words = done.stdout.split()
    assert (len(examples()), done.returncode, done.stderr) == (2, 0, "")
    assert words[1:6] == ["160", "120", "not", "this", "one:"]
    assert words[0] == phash_of_the_picture()


def test_the_example_of_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "README.md").read_text()
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "Pool" in block)
    (tmp_path / "one.jpg").write_bytes(JPEG)
    (tmp_path / "two.jpg").write_bytes(NO_PICTURE)
    program = tmp_path / "program.py"
    program.write_text(f"{example}\n\nshow(['one.jpg', 'two.jpg'])\n")

    done = subprocess.run(
        [sys.executable, "-W", "error", program], capture_output=True, text=True, check=False, cwd=tmp_path
    )

    one, two = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert one.startswith(f"{phash_of_the_picture()} 160 120 ")
    assert two == "not this one: unsupported it is no picture (no_picture)"


def phash_of_the_picture() -> str:
    with ImageProcessingPool(1) as pool:
        return pool.submit(JPEG).result(WITHIN_S).phash


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "{'asyncio', 'pyvips', 'PIL', 'watcherd.pool', 'concurrent.futures', 'structlog'}"
    program = f"import sys, watcherd; print(sorted({heavy} & set(sys.modules)), dir(watcherd).count('PoolError'))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[] 1\n"


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'ProcessingPool'"):
        watcherd.ProcessingPool  # type: ignore[attr-defined]  # noqa: B018
