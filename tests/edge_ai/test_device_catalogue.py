"""The catalogue file, its loader, and the detection of this machine."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields
from pathlib import Path, PurePosixPath

import pytest

from edge_ai.catalogue.host import (
    CpuInfo,
    detect_host,
    parse_cgroup_limit_bytes,
    parse_cgroup_paths,
    parse_cpuinfo,
    parse_memory_bytes,
)
from edge_ai.catalogue.loader import (
    CATEGORIES,
    RUNTIME_FORMATS,
    TEXT_SOURCES,
    CatalogueError,
    DeviceTemplateFacts,
    facts_to_fields,
    load_catalogue,
)
from edge_ai.engine.routes import RUNS_HERE
from edge_ai.models.device import DESCRIPTION_FIELDS, DeviceCategory, DeviceProfile

CATALOGUE = load_catalogue()
DEVICES = {facts.slug: facts for facts in CATALOGUE}
NUMBERS = (
    "cpu_cores",
    "cpu_frequency_mhz",
    "memory_mb",
    "memory_bandwidth_gb_s",
    "peak_gflops_fp32",
    "peak_gflops_fp16",
    "peak_tops_int8",
    "tdp_w",
)
every_device = pytest.mark.parametrize("facts", CATALOGUE, ids=lambda facts: facts.slug)


class TestCatalogueFile:
    def test_has_the_devices_that_edge_engineers_ask_for(self) -> None:
        assert len(CATALOGUE) >= 26
        assert {
            "raspberry-pi-4-model-b",
            "raspberry-pi-5",
            "raspberry-pi-zero-2-w",
            "jetson-nano",
            "jetson-xavier-nx",
            "jetson-orin-nano-8gb-super",
            "jetson-agx-orin-64gb",
            "coral-dev-board",
            "stm32h743",
            "esp32-s3",
        } <= DEVICES.keys()

    def test_has_every_category(self) -> None:
        assert {facts.category for facts in CATALOGUE} == CATEGORIES

    def test_has_three_classes_of_phone_for_each_system(self) -> None:
        phones = [facts for facts in CATALOGUE if facts.category == "phone"]
        assert sum(facts.os.startswith("Android") for facts in phones) >= 3
        assert sum(facts.os.startswith("iOS") for facts in phones) >= 3

    def test_has_ai_pcs_of_three_makers_and_servers_of_both_architectures(self) -> None:
        assert {facts.vendor for facts in CATALOGUE if facts.category == "ai_pc"} >= {"Intel", "AMD", "Qualcomm"}
        assert {facts.cpu_architecture for facts in CATALOGUE if facts.category == "server"} == {"x86_64", "arm64"}

    def test_leaves_this_machine_to_be_detected(self) -> None:
        assert "this-machine" not in DEVICES
        assert not any(facts.is_host for facts in CATALOGUE)

    def test_positions_follow_the_file(self) -> None:
        assert [facts.position for facts in CATALOGUE] == list(range(1, len(CATALOGUE) + 1))

    def test_categories_are_those_of_the_database(self) -> None:
        assert set(DeviceCategory.values) == CATEGORIES | {"host"}

    @every_device
    def test_every_number_has_a_source_and_every_source_a_number(self, facts: DeviceTemplateFacts) -> None:
        present = {name for name in NUMBERS if getattr(facts, name) is not None}
        present |= {
            f"accelerators.{index}.peak_tops_int8"
            for index, accelerator in enumerate(facts.accelerators)
            if accelerator.peak_tops_int8 is not None
        }
        assert facts.sources.keys() == present | {TEXT_SOURCES}
        for text in facts.sources.values():
            assert "https://" in text
            assert "[" not in text

    @every_device
    def test_derivations_give_their_numbers(self, facts: DeviceTemplateFacts) -> None:
        for name in ("memory_bandwidth_gb_s", "peak_gflops_fp32", "peak_gflops_fp16", "peak_tops_int8"):
            source = facts.sources.get(name, "")
            if not source.startswith("derived:"):
                continue
            factors = source.partition(";")[0].rpartition(", ")[2].split(" x ")
            product = math.prod(float(_first_number(factor)) for factor in factors)
            expected = product if name.startswith("peak_gflops") else product / 1000
            assert getattr(facts, name) == pytest.approx(expected), source

    @every_device
    def test_formats_fit_the_runtimes(self, facts: DeviceTemplateFacts) -> None:
        assert set(facts.formats) <= set().union(*(RUNTIME_FORMATS[name] for name in facts.runtimes))
        if "onnxruntime" in facts.runtimes:
            assert {"onnx", "ort"} <= set(facts.formats)
            assert {"fp32", "fp16", "int8", "int8_dynamic"} <= set(facts.precisions)
        assert ("coreml" in facts.formats) == (facts.vendor == "Apple")
        assert ("tensorrt" in facts.formats) == (facts.vendor == "NVIDIA")

    @every_device
    def test_microcontrollers_run_small_tflite_files_and_nothing_else(self, facts: DeviceTemplateFacts) -> None:
        micro = facts.category == "microcontroller"
        assert ("tflite_micro" in facts.runtimes) == micro
        if micro:
            assert facts.formats == ("tflite",)
            assert {"fp32", "int8"} <= set(facts.precisions) <= {"fp32", "int8", "int16x8"}
            assert facts.memory_mb is None or facts.memory_mb < 64

    @every_device
    def test_extensions_fit_the_architecture(self, facts: DeviceTemplateFacts) -> None:
        x86 = {word for word in facts.cpu_extensions if word.startswith(("avx", "amx", "fma", "f16c"))}
        assert bool(x86) == (facts.cpu_architecture == "x86_64")
        assert ("neon" in facts.cpu_extensions) == (facts.cpu_architecture == "arm64")

    @every_device
    def test_peaks_need_the_instructions_that_reach_them(self, facts: DeviceTemplateFacts) -> None:
        if facts.cpu_architecture == "arm64":
            assert facts.peak_gflops_fp16 is None or "fp16" in facts.cpu_extensions
            assert facts.peak_tops_int8 is None or "dotprod" in facts.cpu_extensions

    @every_device
    def test_fits_the_columns(self, facts: DeviceTemplateFacts) -> None:
        columns = facts_to_fields(facts)
        profile = DeviceProfile(**columns)
        profile.clean_fields(exclude=["owner"])
        assert set(columns) == set(DESCRIPTION_FIELDS)
        assert json.loads(json.dumps(columns)) == columns


class TestFactsToFields:
    def test_names_every_fact(self) -> None:
        columns = facts_to_fields(DEVICES["jetson-agx-orin-64gb"])
        assert set(columns) == {field.name for field in fields(DeviceTemplateFacts)}
        assert columns["memory_mb"] == 65536
        assert columns["runtimes"] == ["onnxruntime", "tensorrt", "tflite", "ncnn"]
        assert columns["accelerators"] == [
            {
                "name": "2048-core Ampere GPU with 64 tensor cores",
                "kind": "gpu",
                "peak_tops_int8": 85.0,
                "precisions": ["fp32", "fp16", "int8"],
            },
            {"name": "Two NVDLA 2.0", "kind": "npu", "peak_tops_int8": 52.5, "precisions": ["fp16", "int8"]},
        ]

    def test_facts_cannot_be_changed(self) -> None:
        with pytest.raises(FrozenInstanceError):
            DEVICES["esp32-s3"].memory_mb = 16  # type: ignore[misc]
        with pytest.raises(TypeError):
            DEVICES["esp32-s3"].sources["memory_mb"] = "somebody said so"  # type: ignore[index]


DOCUMENTS = '[documents]\nbrief = "Board product brief, https://example.org/brief.pdf"\n'
BOARD = """
[[device]]
slug = "board"
name = "Board"
vendor = "Maker"
category = "single_board_computer"
description = "A board."
os = "Linux"
cpu_model = "4 x Core"
cpu_cores = { value = 4, source = "[brief]" }
cpu_architecture = "arm64"
cpu_extensions = ["neon"]
runtimes = ["onnxruntime"]
formats = ["onnx"]
precisions = ["fp32", "int8"]
sources = ["[brief]"]
"""
ACCELERATOR = """
[[device.accelerators]]
name = "NPU"
kind = "npu"
peak_tops_int8 = { value = 6, source = "[brief]" }
precisions = ["int8"]
"""


class TestLoader:
    def test_reads_a_small_file(self, tmp_path: Path) -> None:
        (facts,) = load(tmp_path, DOCUMENTS + BOARD + ACCELERATOR)
        assert (facts.slug, facts.position, facts.cpu_cores, facts.memory_mb) == ("board", 1, 4, None)
        assert facts.accelerators[0].peak_tops_int8 == 6
        assert facts.sources["cpu_cores"] == "Board product brief, https://example.org/brief.pdf"
        assert facts.sources["accelerators.0.peak_tops_int8"] == facts.sources["cpu_cores"]

    def test_keeps_how_a_number_was_derived(self, tmp_path: Path) -> None:
        line = 'peak_gflops_fp32 = { value = 64, source = "derived: 4 cores x 2 GHz x 8; [brief]" }\n'
        (facts,) = load(tmp_path, DOCUMENTS + BOARD + line)
        assert facts.peak_gflops_fp32 == 64
        assert facts.sources["peak_gflops_fp32"].startswith("derived: 4 cores x 2 GHz x 8; Board product brief")

    @pytest.mark.parametrize(
        ("old", "new", "field", "complaint"),
        [
            ('os = "Linux"', 'oss = "Linux"', "oss", "unknown key"),
            ('os = "Linux"', "", "os", "must be a text"),
            ('os = "Linux"', 'os = " "', "os", "must be a text"),
            ('slug = "board"', 'slug = "The Board"', "slug", "lower-case"),
            ('"single_board_computer"', '"toaster"', "category", "'toaster' is not one of"),
            ('"single_board_computer"', '"host"', "category", "'host' is not one of"),
            ('"arm64"', '"z80"', "cpu_architecture", "'z80' is not one of"),
            ('formats = ["onnx"]', 'formats = ["onix"]', "formats", "'onix' is not one of"),
            ('formats = ["onnx"]', 'formats = ["other"]', "formats", "'other' is not one of"),
            (
                'formats = ["onnx"]',
                'formats = ["onnx", "tflite"]',
                "formats",
                "no runtime of this device reads 'tflite'",
            ),
            ('formats = ["onnx"]', "formats = []", "formats", "must not be empty"),
            ('formats = ["onnx"]', 'formats = ["onnx", "onnx"]', "formats", "twice"),
            ('formats = ["onnx"]', 'formats = "onnx"', "formats", "must be a list"),
            ('["onnxruntime"]', '["onnxruntime", "tflite"]', "runtimes", "'tflite' reads none"),
            ('["onnxruntime"]', '["abacus"]', "runtimes", "'abacus' is not one of"),
            ('["fp32", "int8"]', '["fp32", "int7"]', "precisions", "'int7' is not one of"),
            ('["fp32", "int8"]', '["auto"]', "precisions", "'auto' is not one of"),
            ('["neon"]', '["NEON"]', "cpu_extensions", "no lower-case word"),
            ('["neon"]', "[1]", "cpu_extensions", "no lower-case word"),
            ('sources = ["[brief]"]', "", "sources", "must be a list of texts"),
            ('sources = ["[brief]"]', 'sources = ["the web"]', "sources", "must cite a [document]"),
            ('{ value = 4, source = "[brief]" }', "4", "cpu_cores", "must be {value = number, source = text}"),
            ('{ value = 4, source = "[brief]" }', "{ value = 4 }", "cpu_cores", "must be {value = number"),
            ('value = 4, source = "[brief]"', 'value = 4, source = ""', "cpu_cores", "must cite a [document]"),
            ('value = 4, source = "[brief]"', 'value = 4, source = "[leaflet]"', "cpu_cores", "[leaflet]"),
            ('value = 4, source = "[brief]"', "value = 4, source = 7", "cpu_cores", "source must be a text"),
            ("value = 4,", "value = 0,", "cpu_cores", "above zero"),
            ("value = 4,", "value = -4,", "cpu_cores", "above zero"),
            ("value = 4,", "value = 4.5,", "cpu_cores", "no whole number"),
            ("value = 4,", "value = nan,", "cpu_cores", "no number"),
            ("value = 4,", "value = true,", "cpu_cores", "no number"),
            ("value = 4,", 'value = "4",', "cpu_cores", "no number"),
            ("cpu_cores = { value = 4,", "memory_mb = { value = 8589934592,", "memory_mb", "is the unit right?"),
            ("cpu_cores = { value = 4,", "cpu_frequency_mhz = { value = 1,", "cpu_frequency_mhz", "is the unit right?"),
            ("cpu_cores = { value = 4,", "tdp_w = { value = 15000,", "tdp_w", "is the unit right?"),
            ('kind = "npu"', 'kind = "fpga"', "accelerators.0.kind", "'fpga' is not one of"),
            ('kind = "npu"', 'kind = "npu"\nspeed = 1', "accelerators.0.speed", "unknown key"),
            ('name = "NPU"', 'name = ""', "accelerators.0.name", "must be a text"),
            ("value = 6,", "value = 0,", "accelerators.0.peak_tops_int8", "above zero"),
            ('precisions = ["int8"]', 'precisions = ["int9"]', "accelerators.0.precisions", "'int9' is not one of"),
        ],
    )
    def test_names_the_device_and_the_field(
        self, tmp_path: Path, old: str, new: str, field: str, complaint: str
    ) -> None:
        good = BOARD + ACCELERATOR
        assert old in good
        with pytest.raises(CatalogueError, match=re.escape(complaint)) as caught:
            load(tmp_path, DOCUMENTS + good.replace(old, new, 1))
        assert caught.value.field == field
        assert caught.value.device in ("board", "The Board")
        assert str(caught.value).startswith(f"{caught.value.device} / {field}: ")

    def test_names_a_device_without_a_slug_by_its_place(self, tmp_path: Path) -> None:
        second = BOARD.replace('slug = "board"\n', "")
        with pytest.raises(CatalogueError, match=r"^device 2 / slug: must be a text"):
            load(tmp_path, DOCUMENTS + BOARD + second)

    def test_refuses_a_slug_used_twice(self, tmp_path: Path) -> None:
        with pytest.raises(CatalogueError, match=r"^board / slug: .*twice"):
            load(tmp_path, DOCUMENTS + BOARD + BOARD)

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("", "has no [[device]]"),
            (DOCUMENTS, "has no [[device]]"),
            ("devices = 1\n", "unknown key 'devices'"),
            ("slug = \n", "cannot be read as TOML"),
            ('documents = "none"\n' + BOARD, "documents: must be a table"),
            ('[documents]\nbrief = "A friend told me"\n' + BOARD, "documents.brief: a document needs a title"),
            ('[documents]\nBrief = "https://example.org"\n' + BOARD, "documents.Brief: a document's key"),
            (DOCUMENTS + 'spare = "Data sheet, document DS12110"\n' + BOARD, "documents.spare: no device cites"),
        ],
    )
    def test_refuses_a_file_that_is_wrong_as_a_whole(self, tmp_path: Path, text: str, complaint: str) -> None:
        with pytest.raises(CatalogueError, match=re.escape(complaint)):
            load(tmp_path, text)

    def test_says_when_there_is_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(CatalogueError, match=r"missing\.toml: cannot be read"):
            load_catalogue(tmp_path / "missing.toml")


X86_CPUINFO = """\
processor\t: 0
vendor_id\t: GenuineIntel
model\t\t: 142
model name\t: Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz
cpu MHz\t\t: 3400.123
flags\t\t: fpu sse2 sse4_1 sse4_2 avx fma f16c avx2 constant_tsc aperfmperf
bugs\t\t: spectre_v1

processor\t: 1
model name\t: Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz
cpu MHz\t\t: 800.000
flags\t\t: fpu sse2 sse4_1 sse4_2 avx fma f16c avx2 constant_tsc aperfmperf
"""
XEON_CPUINFO = """\
processor\t: 0
model name\t: Intel(R) Xeon(R)   Processor
cpu MHz\t\t: 2299.998
flags\t\t: avx2 fma avx512f constant_tsc hypervisor avx_vnni avx512_vnni amx_tile amx_int8 amx_bf16
"""
RASPBERRY_PI_CPUINFO = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1

processor\t: 1
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b

Revision\t: d04170
Serial\t\t: 0000000000000000
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
BIG_LITTLE_CPUINFO = """\
Features\t: fp asimd
CPU implementer\t: 0x41
CPU part\t: 0xd05
Features\t: fp asimd
CPU implementer\t: 0x41
CPU part\t: 0xd0b
Features\t: fp asimd
CPU implementer\t: 0x61
CPU part\t: 0x023
"""
ARMV7_CPUINFO = """\
processor\t: 0
model name\t: ARMv7 Processor rev 3 (v7l)
Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm crc32
CPU implementer\t: 0x41
CPU part\t: 0xd08
Hardware\t: BCM2711
Model\t\t: Raspberry Pi 4 Model B Rev 1.2
"""


class TestParseCpuinfo:
    def test_x86(self) -> None:
        assert parse_cpuinfo(X86_CPUINFO) == CpuInfo(
            model="Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz",
            board="",
            extensions=("sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c"),
            fixed_mhz=1600,
        )

    def test_virtual_machine_with_a_fixed_clock(self) -> None:
        cpu = parse_cpuinfo(XEON_CPUINFO)
        assert cpu.model == "Intel(R) Xeon(R) Processor"
        assert cpu.fixed_mhz == 2300
        assert {"avx512_vnni", "avx_vnni", "amx_int8"} <= set(cpu.extensions)

    def test_a_clock_that_wanders_is_not_taken(self) -> None:
        wandering = X86_CPUINFO.replace(" @ 1.60GHz", "")
        assert parse_cpuinfo(wandering).fixed_mhz is None

    def test_raspberry_pi(self) -> None:
        assert parse_cpuinfo(RASPBERRY_PI_CPUINFO) == CpuInfo(
            model="2 x Cortex-A76",
            board="Raspberry Pi 5 Model B Rev 1.0",
            extensions=("neon", "fp16", "dotprod"),
            fixed_mhz=None,
        )

    def test_cores_of_several_kinds(self) -> None:
        assert parse_cpuinfo(BIG_LITTLE_CPUINFO).model == "1 x Cortex-A55 + 1 x Cortex-A76 + 1 x Arm part 0x61/0x023"

    def test_32_bit_arm(self) -> None:
        cpu = parse_cpuinfo(ARMV7_CPUINFO)
        assert (cpu.model, cpu.board) == ("1 x Cortex-A72", "Raspberry Pi 4 Model B Rev 1.2")
        assert cpu.extensions == ("neon", "vfpv4")

    @pytest.mark.parametrize("text", ["", "nonsense", ":", "CPU part : oops", "flags\t:\n"])
    def test_survives_what_it_does_not_know(self, text: str) -> None:
        assert parse_cpuinfo(text).extensions == ()


class TestParseMemory:
    def test_meminfo(self) -> None:
        assert parse_memory_bytes("MemTotal:       8123456 kB\nMemFree:  1 kB\n") == 8123456 * 1024
        assert parse_memory_bytes("MemFree: 1 kB\n") is None

    def test_cgroup_limit(self) -> None:
        assert parse_cgroup_limit_bytes("536870912\n") == 512 * 1024 * 1024
        assert parse_cgroup_limit_bytes("max\n") is None
        assert parse_cgroup_limit_bytes("") is None

    def test_cgroup_version_2_counts_every_group_above(self) -> None:
        assert parse_cgroup_paths("0::/system.slice/studio.service\n") == (
            PurePosixPath("system.slice/studio.service/memory.max"),
            PurePosixPath("system.slice/memory.max"),
            PurePosixPath("memory.max"),
        )

    def test_cgroup_version_1_takes_the_memory_controller(self) -> None:
        assert parse_cgroup_paths("5:cpu,cpuacct:/a\n4:memory:/docker/b\n1:name=systemd:/c\n") == (
            PurePosixPath("memory/docker/b/memory.limit_in_bytes"),
            PurePosixPath("memory/docker/memory.limit_in_bytes"),
            PurePosixPath("memory/memory.limit_in_bytes"),
        )

    def test_a_group_outside_the_mount_is_left_alone(self) -> None:
        assert parse_cgroup_paths("0::/../../other\n") == (PurePosixPath("memory.max"),)


class TestDetectHost:
    def test_this_machine(self) -> None:
        facts = detect_host()
        assert (facts.slug, facts.name, facts.category) == ("this-machine", "This machine", "host")
        assert (facts.position, facts.is_host) == (0, True)
        assert facts.cpu_cores == len(os.sched_getaffinity(0))
        total_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024**2
        assert facts.memory_mb is not None
        assert 0 < facts.memory_mb <= total_mb
        assert facts.cpu_model
        if platform.machine() == "x86_64":
            assert facts.cpu_architecture == "x86_64"
        readable: set[str] = set().union(*(RUNTIME_FORMATS[name] for name in facts.runtimes))
        assert set(facts.formats) == RUNS_HERE == readable
        assert {"fp32", "fp16", "int8", "int8_dynamic", "int16x8", "int4"} <= set(facts.precisions)

    def test_claims_no_number_that_nobody_measured(self) -> None:
        facts = detect_host()
        unknown = {"memory_bandwidth_gb_s", "peak_gflops_fp32", "peak_gflops_fp16", "peak_tops_int8", "tdp_w"}
        assert all(getattr(facts, name) is None for name in unknown)
        for name in NUMBERS:
            assert (name in facts.sources) == (getattr(facts, name) is not None)
        assert all("this host" in text for text in facts.sources.values())

    def test_says_the_same_twice(self) -> None:
        assert facts_to_fields(detect_host()) == facts_to_fields(detect_host())

    def test_fits_the_columns(self) -> None:
        columns = facts_to_fields(detect_host())
        DeviceProfile(**columns).clean_fields(exclude=["owner"])
        assert json.loads(json.dumps(columns)) == columns

    def test_a_raspberry_pi_in_a_container(self, tmp_path: Path) -> None:
        write(tmp_path / "proc/cpuinfo", RASPBERRY_PI_CPUINFO)
        write(tmp_path / "proc/meminfo", "MemTotal:        8257152 kB\n")
        write(tmp_path / "proc/self/cgroup", "0::/\n")
        write(tmp_path / "sys/fs/cgroup/memory.max", "2147483648\n")
        for index in range(4):
            write(tmp_path / f"sys/devices/system/cpu/cpu{index}/cpufreq/cpuinfo_max_freq", "2400000\n")
        write(tmp_path / "sys/firmware/devicetree/base/model", "Raspberry Pi 5 Model B Rev 1.0\0")
        write(tmp_path / "sys/class/hailo_chardev/hailo0", "")
        facts = detect_host(tmp_path)
        assert facts.cpu_model == "2 x Cortex-A76"
        assert facts.cpu_frequency_mhz == 2400
        assert facts.memory_mb == 2048
        assert "control group" in facts.sources["memory_mb"]
        assert "Raspberry Pi 5 Model B Rev 1.0" in facts.description
        assert [(found.name, found.kind) for found in facts.accelerators] == [("Hailo accelerator", "npu")]

    def test_a_desktop_with_two_graphics_cards(self, tmp_path: Path) -> None:
        write(tmp_path / "proc/cpuinfo", X86_CPUINFO)
        write(tmp_path / "proc/meminfo", "MemTotal:       16384000 kB\n")
        write(tmp_path / "proc/self/cgroup", "4:memory:/\n0::/\n")
        write(tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
        write(tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA L4\nIRQ: 1\n")
        write(tmp_path / "sys/class/drm/card0/device/vendor", "0x8086\n")
        write(tmp_path / "sys/class/drm/card1/device/vendor", "0x10de\n")
        write(tmp_path / "sys/class/drm/card2/device/vendor", "0x1a03\n")
        write(tmp_path / "sys/class/drm/card0-HDMI-A-1/status", "connected\n")
        write(tmp_path / "sys/class/accel/accel0/device/vendor", "0x8086\n")
        write(tmp_path / "sys/class/dmi/id/sys_vendor", "Example Inc.\n")
        facts = detect_host(tmp_path)
        assert facts.vendor == "Example Inc."
        assert facts.memory_mb == 16000
        assert "MemTotal" in facts.sources["memory_mb"]
        assert [(found.name, found.kind) for found in facts.accelerators] == [
            ("NVIDIA L4", "gpu"),
            ("Intel GPU", "gpu"),
            ("Intel NPU", "npu"),
        ]

    def test_a_system_that_tells_nothing(self, tmp_path: Path) -> None:
        facts = detect_host(tmp_path)
        assert (facts.memory_mb, facts.cpu_frequency_mhz, facts.accelerators) == (None, None, ())
        assert facts.cpu_model
        assert facts.sources.keys() == {"cpu_cores", TEXT_SOURCES}

    def test_loads_no_machine_learning_library(self) -> None:
        script = (
            "import sys; from edge_ai.catalogue import host, loader; host.detect_host(); loader.load_catalogue();"
            "print([name for name in ('django', 'numpy', 'onnx', 'onnxruntime', 'tensorflow') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.strip() == "[]"


def load(folder: Path, text: str) -> tuple[DeviceTemplateFacts, ...]:
    path = folder / "devices.toml"
    path.write_text(text, encoding="utf-8")
    return load_catalogue(path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _first_number(text: str) -> str:
    match = re.search(r"(?<![\w.-])\d+(\.\d+)?", text)
    assert match, text
    return match[0]
