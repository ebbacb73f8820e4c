# SPDX-License-Identifier: GPL-2.0-only
"""The commented lab.yaml that ``lab init`` writes."""

TEXT = """\
# lab.yaml: what to test.  Every key: docs/lab-yaml.md in the lab's own folder; see `lab doctor`.
#
# Relative paths are relative to this file.  Fragments, workloads and series that are not beside it
# are taken from the lab's own kernel-configs/, guest-tests/ and patches/.
version: 1

# The profile that `lab run` takes without -p.
default_profile: smoke

# The kernels that a profile tests when it names none; without this line the first one below.
default_kernels: [stable]

# Folders with one folder for each workload family.
workload_folders: [guest-tests]

kernels:
  stable:
    # debian:6.12[=VERSION], path:DIR, git:URL-or-DIR#REF or tar:FILE
    source: debian:6.12
    # What this kernel promises.  A workload that exercises it and skips is then a failure.
    provides: [uffd-move]

  # Your own work: a source and, if you like, a series on top of it.
  # mine:
  #   source: path:../linux            # never written to
  #   series: ../patches/v3            # folder, mbox, one patch, or git:DIR#A..B
  #   provides: [uffd-move]

configs:
  default:
    # Merged in this order; the architecture's own fragment goes in after the first by itself.
    fragments: [base, userfaultfd, thp, swap, ksm, memcg, debug-cheap]
    provides: [swap, thp, ksm]

  no-thp:
    fragments: [base, userfaultfd, thp-off, swap, ksm, memcg, debug-cheap]
    provides: [swap, ksm]
    # Takes a promise back: here a workload that needs this may skip.
    lacks: [thp]

  # A complete .config of yours, packed or not; `guest` has what a guest needs beside it.
  # mine:
  #   dotconfig: my.config
  #   fragments: [guest, debug-cheap]
  #   only_arch: [x86_64]

# How the guest looks that boots a build.
shapes:
  small:
    cpus: 2
    memory: 1G
    # Swap on a disk, which writes later, from the swap cache; or on zram, which writes at once.
    # Of both at a time the kernel would use zram until that is full.
    swap_disk: 512M
    # zram: 256M
  # numa2:
  #   memory: 2G
  #   nodes: 2
  #   boot_args: [transparent_hugepage=always]

# Every combination of the parts of a block is a cell: one guest that runs the workloads.
profiles:
  smoke:
    description: The loop of someone at work
    matrix:
      - configs: [default]
        arches: [x86_64, arm64]
        shapes: [small]
        # FAMILY, FAMILY/NAME or patterns; all of them without this line.
        workloads: ["*"]
        # Leave out the workloads that race and find something on one run in many.
        only_deterministic: true
  full:
    description: Everything
    # A run that takes longer is ended in good order.
    time_budget: 8h
    matrix:
      - configs: [default, no-thp]
        arches: [x86_64, arm64]
        shapes: [small]

# Failures that a known-bad kernel must show; one that vanishes is a failure.
# expect:
#   - kernel: mine
#     case: "uffd-move/*:*"
#     title: Bad rss-counter state

# Reports that are known: shown, not failed, and told when they no longer happen.
# known_issues:
#   - title: "^WARNING in some_function$"
#     kernels: ">= 6.8, < 6.12.30"
#     reason: harmless; where it is tracked

# How often a flake may be called a regression, and a regression of so many points be missed.
# judging:
#   false_regressions: 1%
#   missed: 5%
#   points: 30
"""
