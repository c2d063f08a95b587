"""GPEN by its formulas, one sample and one tap at a time, straight on a state dict of the published layout.

Slow and literal on purpose: it shares no code with the networks it checks. Random files of any size come from here too.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0])


def widths(size, multiplier, narrow):
    table = {4: 512, 8: 512, 16: 512, 32: 512}
    table |= {64 << i: (256 >> i) * multiplier for i in range(6)}
    return {side: int(width * narrow) for side, width in table.items() if side <= size}


def random_generator(size=32, style_dim=24, num_mlp=3, multiplier=2, narrow=1 / 64, seed=0):
    """A state dict of GPEN's generator with random weights."""
    g = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=g)

    channels, state = widths(size, multiplier, narrow), {}
    kernel = torch.outer(TAPS, TAPS) / 64

    def modulated(name, cin, cout, k):
        state[f'{name}.conv.weight'] = randn(1, cout, cin, k, k)
        state[f'{name}.conv.modulation.weight'] = randn(cin, style_dim)
        state[f'{name}.conv.modulation.bias'] = 1 + 0.1 * randn(cin)

    def style(name, cin, cout, up=False):
        modulated(name, cin, cout, 3)
        if up:
            state[f'{name}.conv.blur.kernel'] = kernel * 4
        state[f'{name}.noise.weight'] = 0.5 + 0.1 * randn(1)
        state[f'{name}.activate.bias'] = 0.1 * randn(2 * cout)

    def to_rgb(name, cin, up=True):
        state[f'{name}.bias'] = 0.1 * randn(1, 3, 1, 1)
        if up:
            state[f'{name}.upsample.kernel'] = kernel * 4
        modulated(name, cin, 3, 1)

    for i in range(1, num_mlp + 1):
        state[f'generator.style.{i}.weight'] = 100 * randn(style_dim, style_dim)
        state[f'generator.style.{i}.bias'] = 10 * randn(style_dim)
    state['generator.input.input'] = randn(1, channels[4], 4, 4)
    style('generator.conv1', channels[4], channels[4])
    to_rgb('generator.to_rgb1', 2 * channels[4], up=False)
    sides = sorted(channels)[1:]
    for i, side in enumerate(sides):
        style(f'generator.convs.{2 * i}', 2 * channels[side // 2], channels[side], up=True)
        style(f'generator.convs.{2 * i + 1}', 2 * channels[side], channels[side])
        to_rgb(f'generator.to_rgbs.{i}', 2 * channels[side])
    state['ecd0.0.0.weight'], state['ecd0.0.1.bias'] = randn(channels[size], 3, 1, 1), 0.1 * randn(channels[size])
    for i, side in enumerate(reversed(sides), start=1):
        state[f'ecd{i}.0.0.kernel'] = kernel
        state[f'ecd{i}.0.1.weight'] = randn(channels[side // 2], channels[side], 3, 3)
        state[f'ecd{i}.0.2.bias'] = 0.1 * randn(channels[side // 2])
    state['final_linear.0.weight'] = randn(style_dim, channels[4] * 16)
    state['final_linear.0.bias'] = 0.1 * randn(style_dim)
    return state


def random_discriminator(size=32, multiplier=2, narrow=1 / 64, seed=0):
    """A state dict of GPEN's discriminator with random weights."""
    g = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=g)

    channels, kernel = widths(size, multiplier, narrow), torch.outer(TAPS, TAPS) / 64
    state = {'convs.0.0.weight': randn(channels[size], 3, 1, 1), 'convs.0.1.bias': 0.1 * randn(channels[size])}
    for i, side in enumerate(sorted(channels)[:0:-1], start=1):
        cin, cout = channels[side], channels[side // 2]
        state[f'convs.{i}.conv1.0.weight'], state[f'convs.{i}.conv1.1.bias'] = randn(cin, cin, 3, 3), randn(cin)
        state[f'convs.{i}.conv2.0.kernel'] = state[f'convs.{i}.skip.0.kernel'] = kernel
        state[f'convs.{i}.conv2.1.weight'], state[f'convs.{i}.conv2.2.bias'] = randn(cout, cin, 3, 3), randn(cout)
        state[f'convs.{i}.skip.1.weight'] = randn(cout, cin, 1, 1)
    low = channels[4]
    state |= {'final_conv.0.weight': randn(low, low + 1, 3, 3), 'final_conv.1.bias': randn(low)}
    state |= {'final_linear.0.weight': randn(low, low * 16), 'final_linear.0.bias': randn(low)}
    return state | {'final_linear.1.weight': randn(1, low), 'final_linear.1.bias': randn(1)}


def upfirdn(x, kernel, up=1, down=1, pad=(0, 0)):
    """Insert zeros, pad, correlate with the flipped kernel, keep every ``down``-th sample."""
    b, c, h, w = x.shape
    spread = torch.zeros(b, c, h * up, w * up)
    spread[:, :, ::up, ::up] = x
    padded = F.pad(spread, (*pad, *pad)).reshape(b * c, 1, h * up + sum(pad), w * up + sum(pad))
    return F.conv2d(padded, kernel.flip(0, 1)[None, None])[:, 0].unflatten(0, (b, c))[:, :, ::down, ::down]


def activate(x, bias):
    return F.leaky_relu(x + bias.reshape(1, -1, *[1] * (x.ndim - 2)), 0.2) * 2**0.5


def linear(x, state, name, rate=1.0):
    weight = state[f'{name}.weight']
    return F.linear(x, weight * rate / math.sqrt(weight.shape[1]), state[f'{name}.bias'] * rate)


def lrelu_linear(x, state, name, rate=1.0):
    return activate(linear(x, state, name, rate), torch.zeros(1))


def conv(x, weight, stride=1, padding=0):
    return F.conv2d(x, weight / math.sqrt(weight[0].numel()), stride=stride, padding=padding)


def conv_layer(x, state, name, down=False):
    if not down:
        weight = state[f'{name}.0.weight']
        return activate(conv(x, weight, padding=weight.shape[-1] // 2), state[f'{name}.1.bias'])
    x = upfirdn(x, state[f'{name}.0.kernel'], pad=(2, 2))
    return activate(conv(x, state[f'{name}.1.weight'], stride=2), state[f'{name}.2.bias'])


def modulated_conv(x, w, weight, modulation, bias, demodulate=True, kernel=None):
    """One weight per sample: w scales input channels, every filter is normalised to 1; ``kernel``: upsample."""
    style = F.linear(w, modulation / math.sqrt(modulation.shape[1]), bias)
    out = []
    for sample, scales in zip(x, style, strict=True):
        filters = weight / math.sqrt(weight[0].numel()) * scales[None, :, None, None]
        if demodulate:
            filters = filters / (filters.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if kernel is None:
            out.append(F.conv2d(sample[None], filters, padding=filters.shape[-1] // 2))
        else:
            up = F.conv_transpose2d(sample[None], filters.transpose(0, 1), stride=2)
            out.append(upfirdn(up, kernel, pad=(1, 1)))
    return torch.cat(out)


def _modulated(x, w, state, name, **options):
    keys = ('conv.weight', 'conv.modulation.weight', 'conv.modulation.bias')
    weight, modulation, bias = (state[f'{name}.{key}'] for key in keys)
    return modulated_conv(x, w, weight[0], modulation, bias, **options)


def style_block(x, w, noise, state, name):
    x = _modulated(x, w, state, name, kernel=state.get(f'{name}.conv.blur.kernel'))
    x = torch.cat([x, state[f'{name}.noise.weight'] * noise], dim=1)
    return activate(x, state[f'{name}.activate.bias'])


def to_rgb(x, w, state, name, image=None):
    out = _modulated(x, w, state, name, demodulate=False) + state[f'{name}.bias']
    return out if image is None else out + upfirdn(image, state[f'{name}.upsample.kernel'], up=2, pad=(2, 1))


def generator(state, x):
    """Image (b, 3, s, s) -> (restored image, z, w)."""
    features = [conv_layer(x, state, 'ecd0.0')]
    while f'ecd{len(features)}.0.1.weight' in state:
        features.append(conv_layer(features[-1], state, f'ecd{len(features)}.0', down=True))
    z = lrelu_linear(features[-1].flatten(1), state, 'final_linear.0')
    w = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for i in range(1, 100):
        if f'generator.style.{i}.weight' in state:
            w = lrelu_linear(w, state, f'generator.style.{i}', 0.01)
    features.reverse()
    out = style_block(state['generator.input.input'].repeat(len(x), 1, 1, 1), w, features[0], state, 'generator.conv1')
    image = to_rgb(out, w, state, 'generator.to_rgb1')
    for i, feature in enumerate(features[1:]):
        for name in (f'generator.convs.{2 * i}', f'generator.convs.{2 * i + 1}'):
            out = style_block(out, w, feature, state, name)
        image = to_rgb(out, w, state, f'generator.to_rgbs.{i}', image)
    return image, z, w


def discriminator(state, x):
    """Image (b, 3, s, s) -> (b, 1)."""
    x, i = conv_layer(x, state, 'convs.0'), 1
    while f'convs.{i}.conv1.0.weight' in state:
        kernel = state[f'convs.{i}.skip.0.kernel']
        skip = conv(upfirdn(x, kernel, pad=(1, 1)), state[f'convs.{i}.skip.1.weight'], stride=2)
        x = conv_layer(conv_layer(x, state, f'convs.{i}.conv1'), state, f'convs.{i}.conv2', down=True)
        x, i = (x + skip) / 2**0.5, i + 1
    deviation = ((x - x.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt().mean()
    x = torch.cat([x, torch.full_like(x[:, :1], deviation.item())], dim=1)
    x = conv_layer(x, state, 'final_conv').flatten(1)
    return linear(lrelu_linear(x, state, 'final_linear.0'), state, 'final_linear.1')
