"""Each loss term: a value by hand, zero (or least) at the optimum, gradient where it belongs and nowhere else."""

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from mmrbgan_data.components import COMPONENTS
from mmrbgan_model import loss_terms
from mmrbgan_model.loss_terms import GeneratorTerm, Step
from mmrbgan_model.options import Term
from mmrbgan_model.random_views import random_views

SIZE = 64


def make_step(output=0.5, gt=0.0, iteration=1, batch=2, mask=True):
    """A step whose pictures are flat; components of 16 px where boxes need no rounding."""
    known = {'left_eye': [8, 8, 24, 24], 'right_eye': [40, 8, 56, 24], 'mouth': [24, 40, 40, 56]}
    rows = [known.get(component.name, [24, 24, 40, 40]) for component in COMPONENTS]
    boxes = torch.tensor(rows, dtype=torch.float32).expand(batch, -1, 4).clone()
    images = torch.full((batch, 3, SIZE, SIZE), float(output), requires_grad=True)
    pyramid = [torch.full((batch, 3, size, size), float(output)) for size in (8, 16, 32, 64)]
    truth = torch.full((batch, 3, SIZE, SIZE), float(gt))
    return Step(iteration, truth, truth, boxes, torch.full((batch, len(COMPONENTS)), mask), images, pyramid)


class Mean(nn.Module):
    """A discriminator whose logit is weight * mean of the picture, as a map (b, 1, 1, 1)."""

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x):
        return self.weight * x.mean(dim=(1, 2, 3), keepdim=True)


def component_nets(weight=1.0):
    return {component.name: Mean(weight) for component in COMPONENTS}


def test_pixel_loss_is_the_mean_absolute_difference():
    assert loss_terms.pixel_loss(make_step(output=0.5, gt=0.25)).item() == pytest.approx(0.25)


def test_pixel_loss_is_zero_at_the_truth():
    assert loss_terms.pixel_loss(make_step(output=0.3, gt=0.3)).item() == 0


def test_pyramid_loss_adds_up_the_scales():
    assert loss_terms.pyramid_loss(make_step(output=0.5, gt=0.25)).item() == pytest.approx(4 * 0.25)


def test_pyramid_loss_is_zero_at_the_shrunk_truth():
    step = make_step()
    step.gt = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    step.pyramid = [F.avg_pool2d(step.gt, SIZE // size) for size in (8, 16, 32, 64)]
    assert loss_terms.pyramid_loss(step).item() == pytest.approx(0, abs=1e-6)


def test_perceptual_loss_sums_roots_of_mean_squares_over_layers():
    def features(x):
        return [x, 2 * x]

    loss = loss_terms.perceptual_loss(features)(make_step(output=0.5, gt=0.25))
    assert loss.item() == pytest.approx(0.25 + 0.5)


def test_perceptual_loss_is_zero_at_the_truth():
    loss = loss_terms.perceptual_loss(lambda x: [x, x * x])(make_step(output=0.3, gt=0.3))
    assert loss.item() == 0


def test_perceptual_loss_takes_the_norm_of_each_face():
    """A mean over faces of roots, not a root of the mean: 0.25 and 0.75 off give 0.5."""
    step = make_step(output=0.0, gt=0.25)
    step.gt[1] = 0.75
    loss = loss_terms.perceptual_loss(lambda x: [x])(step)
    assert loss.item() == pytest.approx(0.5)


def test_perceptual_loss_has_a_finite_gradient_at_the_truth():
    step = make_step(output=0.3, gt=0.3)
    loss_terms.perceptual_loss(lambda x: [x, x * x])(step).backward()
    assert torch.equal(step.output.grad, torch.zeros_like(step.output))


def test_identity_loss_is_the_mean_absolute_difference_of_features():
    loss = loss_terms.identity_loss(lambda x: x.mean(dim=(2, 3)) * 4)(make_step(output=0.5, gt=0.25))
    assert loss.item() == pytest.approx(1.0)


def test_identity_loss_is_zero_at_the_truth():
    assert loss_terms.identity_loss(lambda x: x.flatten(1))(make_step(output=0.3, gt=0.3)).item() == 0


def test_augmented_identity_loss_changes_both_faces_alike():
    torch.manual_seed(0)
    seen = []
    loss = loss_terms.identity_loss(lambda x: seen.append(x) or x.flatten(1), augment=True)(
        make_step(output=0.3, gt=0.3)
    )
    assert loss.item() == 0 and torch.equal(seen[0], seen[1].detach())
    assert (seen[0] - 0.3).abs().mean() > 0.01


def test_random_views_differ_from_face_to_face_and_pass_gradients():
    torch.manual_seed(0)
    faces = torch.rand(1, 3, SIZE, SIZE).expand(4, -1, -1, -1).clone().requires_grad_()
    one, other = random_views(faces, faces.detach())
    assert torch.equal(one.detach(), other)
    assert all((one[0] - one[i]).abs().mean() > 0.01 for i in range(1, 4))
    one.sum().backward()
    assert all(gradient.abs().sum() > 0 for gradient in faces.grad)


def test_adversarial_loss_is_softplus_of_the_negated_logit():
    loss = loss_terms.adversarial_loss(Mean())(make_step(output=0.5))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-0.5)))


def test_component_loss_adds_up_the_components():
    loss = loss_terms.component_loss(component_nets())(make_step(output=0.5))
    assert loss.item() == pytest.approx(len(COMPONENTS) * math.log1p(math.exp(-0.5)), rel=1e-5)


def test_component_loss_leaves_out_faces_without_boxes():
    step = make_step(output=0.5)
    step.component_mask[0] = False
    loss = loss_terms.component_loss(component_nets())(step)
    assert loss.item() == pytest.approx(len(COMPONENTS) * math.log1p(math.exp(-0.5)) / 2, rel=1e-5)


def test_component_loss_of_faces_without_boxes_gives_no_gradient():
    step = make_step(mask=False)
    loss_terms.component_loss(component_nets())(step).backward()
    assert step.output.grad.abs().max() == 0


def test_component_loss_reaches_the_boxes_alone():
    step = make_step()
    loss_terms.component_loss(component_nets())(step).backward()
    touched = step.output.grad.abs().sum(dim=(0, 1)) > 0
    inside = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for x1, y1, x2, y2 in step.component_boxes[0].int().tolist():
        inside[y1 - 1 : y2 + 1, x1 - 1 : x2 + 1] = True
    assert touched.any() and not (touched & ~inside).any()


@pytest.mark.parametrize('component', range(len(COMPONENTS)))
def test_crops_show_their_own_box(component):
    step = make_step()
    x1, y1, x2, y2 = step.component_boxes[0, component].int().tolist()
    picture = torch.zeros(2, 3, SIZE, SIZE)
    picture[:, :, y1:y2, x1:x2] = 1
    crop = loss_terms.crop_components(picture, step.component_boxes)[COMPONENTS[component].name]
    assert crop[:, :, 1:-1, 1:-1].min() > 0.99


def test_crops_keep_left_on_the_left():
    step = make_step()
    ramp = torch.arange(SIZE, dtype=torch.float32).expand(2, 3, SIZE, SIZE)
    crop = loss_terms.crop_components(ramp, step.component_boxes)['left_eye']
    assert torch.all(crop[..., 1:] > crop[..., :-1])
    assert crop.mean().item() == pytest.approx(15.5, abs=1e-3)  # pixels 8 to 23, their middle


def test_discriminator_loss_by_hand():
    loss = loss_terms.discriminator_loss(torch.tensor([2.0]), torch.tensor([-1.0]))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-2)) + math.log1p(math.exp(-1)))


def test_discriminator_loss_falls_as_true_rises_and_restored_falls():
    low = loss_terms.discriminator_loss(torch.tensor([3.0]), torch.tensor([-3.0]))
    high = loss_terms.discriminator_loss(torch.tensor([-3.0]), torch.tensor([3.0]))
    assert low < 0.1 and high > 6


def test_masked_cross_entropy_by_hand():
    logits = torch.tensor([[[[1.0, 3.0]]], [[[5.0, 5.0]]]])
    real = loss_terms.masked_cross_entropy(logits, True, torch.tensor([1.0, 0.0]))
    fake = loss_terms.masked_cross_entropy(logits, False, torch.tensor([1.0, 0.0]))
    assert real.item() == pytest.approx((math.log1p(math.exp(-1)) + math.log1p(math.exp(-3))) / 4)
    assert fake.item() == pytest.approx((math.log1p(math.exp(1)) + math.log1p(math.exp(3))) / 4)


def test_gradient_penalty_is_half_the_squared_norm_of_the_gradient():
    images = torch.rand(2, 3, 4, 4, requires_grad=True)
    logits = (3 * images).sum(dim=(1, 2, 3))
    assert loss_terms.gradient_penalty(logits, images).item() == pytest.approx(9 * 48 / 2)


def test_gradient_penalty_works_in_channels_last():
    images = torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last).requires_grad_(True)
    penalty = loss_terms.gradient_penalty(images.square().sum(dim=(1, 2, 3)), images)
    assert penalty.item() == pytest.approx((4 * images.detach().square().sum() / 2 / 2).item(), rel=1e-5)


def test_sum_is_weighted_and_logged_by_name():
    terms = [GeneratorTerm('a', Term(2.0), lambda step: torch.tensor(3.0))]
    terms.append(GeneratorTerm('b', Term(0.5), lambda step: torch.tensor(4.0)))
    log = {}
    assert loss_terms.sum_terms(terms, make_step(), log).item() == 8
    assert {key: value.item() for key, value in log.items()} == {'l_g_a': 6.0, 'l_g_b': 2.0}


@pytest.mark.parametrize(('iteration', 'on'), [(1, False), (2, True), (3, True), (4, False)])
def test_terms_start_and_stop_where_they_say(iteration, on):
    log = {}
    term = GeneratorTerm('a', Term(1.0, start=2, stop=3), lambda step: torch.tensor(1.0))
    loss_terms.sum_terms([term], make_step(iteration=iteration), log)
    assert ('l_g_a' in log) is on
