"""A step must be recordable as a CUDA graph: nothing in it comes from the host or goes to it."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmrbgan_arch import MMRBGANMobileFaceNet, basicsr_bridge
from mmrbgan_model import loss_terms
from mmrbgan_model.options import IdentityTerm, PerceptualTerm
from mmrbgan_model.perceptual import FeatureMaps

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')


class _HostTraffic(TorchDispatchMode):
    """Lists the operations that make a tensor of Python's numbers, or numbers of a tensor."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket in (torch.ops.aten.lift_fresh, torch.ops.aten._local_scalar_dense):
            self.found.append(function)
        return function(*args, **(kwargs or {}))


def test_the_dispatch_mode_sees_traffic():
    with _HostTraffic() as traffic:
        torch.zeros(2).new_tensor([1.0, 2.0])
        float(torch.ones(()))
    assert len(traffic.found) == 2


def test_no_term_talks_to_the_host():
    sources = loss_terms.Sources(
        features=lambda options: FeatureMaps(options.network),
        recogniser=lambda options: MMRBGANMobileFaceNet(),
        discriminator=None,
        component_nets={},
    )
    built = {
        'pixel_opt': loss_terms.TERMS['pixel_opt'][1](None, sources),
        'pyramid_opt': loss_terms.TERMS['pyramid_opt'][1](None, sources),
        'perceptual_opt': loss_terms.TERMS['perceptual_opt'][1](PerceptualTerm(1.0, network='mobilenet_v2'), sources),
        'identity_opt': loss_terms.TERMS['identity_opt'][1](IdentityTerm(1.0, augment=True), sources),
    }
    torch.manual_seed(0)
    gt = torch.rand(2, 3, 128, 128) * 2 - 1
    output = (gt * 0.9).requires_grad_()
    step = loss_terms.Step(1, gt, gt, torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.bool), output, [output])
    for compute in built.values():
        with _HostTraffic() as traffic:
            compute(step).backward()
        assert not traffic.found
