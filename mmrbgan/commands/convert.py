"""`mmrbgan convert`: public weights into networks of ours, in BasicSR's layout."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

GPEN_HELP = (
    "Fill MMRBGAN and its discriminator from GPEN's published files. The result computes exactly what GPEN computes "
    "and is where the paper's training starts. GPEN states no licence for its weights."
)
ARCFACE_HELP = "Check GFPGAN's arcface_resnet18.pth and write it in BasicSR's layout, for train.identity_opt."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one sub-command per kind of public weights."""
    sources = parser.add_subparsers(dest='source', metavar='SOURCE', required=True)
    gpen = sources.add_parser('gpen', help='GPEN generator and discriminator', description=GPEN_HELP)
    gpen.add_argument('--generator', required=True, type=Path, metavar='G.pth', help='such as GPEN-BFR-512.pth')
    gpen.add_argument('--discriminator', type=Path, metavar='D.pth', help='such as GPEN-BFR-512-D.pth')
    gpen.add_argument('--output', required=True, type=Path, metavar='DIR', help='gets net_g.pth and net_d.pth')
    gpen.add_argument('--without-mmrb', action='store_true', help="leave the MMRBs out (network_g's use_mmrb: false)")
    arcface = sources.add_parser('arcface', help='ArcFace ResNet-18', description=ARCFACE_HELP)
    arcface.add_argument('--weights', required=True, type=Path, metavar='F.pth', help='such as arcface_resnet18.pth')
    arcface.add_argument('--output', required=True, type=Path, metavar='DIR', help='gets net_identity.pth')


def run(args: argparse.Namespace) -> int:
    """Convert, write, and print the options of each network."""
    from mmrbgan_arch.hyperparameters import describe
    from mmrbgan_arch.weights_io import write_networks

    networks = {'gpen': _gpen, 'arcface': _arcface}[args.source](args)
    write_networks(networks, args.output)
    for name, network in networks.items():
        sys.stdout.write(f'{args.output / name}: {describe(network)}\n')
    return 0


def _gpen(args: argparse.Namespace) -> 'dict[str, nn.Module]':
    from mmrbgan_arch.gpen import convert_discriminator, convert_generator

    networks: dict[str, nn.Module] = {'net_g.pth': convert_generator(args.generator, not args.without_mmrb)}
    if args.discriminator is not None:
        networks['net_d.pth'] = convert_discriminator(args.discriminator)
    return networks


def _arcface(args: argparse.Namespace) -> 'dict[str, nn.Module]':
    from mmrbgan_arch.weights_io import read_network

    return {'net_identity.pth': read_network(args.weights, 'MMRBGANArcFace')}
