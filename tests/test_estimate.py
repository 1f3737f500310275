"""Estimates against what is measured: the allocator, autograd's saved tensors, PyTorch's own autocast and AdamW."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from motionfocal.training.estimate import (
    A100,
    H100,
    Accelerator,
    LiveBytes,
    PassCost,
    StepMemory,
    count_parameters,
    count_pass,
    step_memory,
)

WIDTH, TOKENS = 64, 256


class Block(nn.Module):
    """A transformer's block without attention, or with it."""

    def __init__(self, attends: bool) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH) if attends else None

    def forward(self, x):
        if self.qkv is not None:
            query, key, value = self.qkv(x).unflatten(-1, (3, 4, -1)).movedim(-3, 0).transpose(-2, -3)
            x = x + F.scaled_dot_product_attention(query, key, value).transpose(-2, -3).flatten(-2)
        return x + self.down(F.gelu(self.up(self.norm(x))))


class Stack(nn.Module):
    def __init__(self, layers: int = 3, attends: bool = False, checkpointing: bool = False) -> None:
        super().__init__()
        self.blocks, self.checkpointing = nn.ModuleList(Block(attends) for _ in range(layers)), checkpointing

    def forward(self, x):
        for block in self.blocks:
            x = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False) if self.checkpointing else block(x)
        return x


def clip(device="meta", dtype=torch.float32):
    return torch.randn(1, TOKENS, WIDTH, device=device, dtype=dtype)


def counted(network, device="meta", **options):
    x = clip(device, next(network.parameters()).dtype)
    return count_pass(network.to(device), lambda: network(x), **options)


def allocator_peak(network, x):
    """Highest sum of what PyTorch's CPU allocator gave out during a pass, by its own record."""
    with torch.profiler.profile(profile_memory=True) as profile:
        network(x).square().mean().backward()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_what_the_allocator_gave(checkpointing):
    network, x = Stack(checkpointing=checkpointing), clip("cpu")
    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)
    measured = allocator_peak(network, x)
    assert counted(network, "cpu").activations == pytest.approx(measured, rel=0.02)
    assert counted(network).activations == pytest.approx(measured, rel=0.02)


@pytest.mark.parametrize("attends", [False, True])
def test_what_lives_after_forward_is_what_autograd_saved(attends):
    network, x = Stack(attends=attends), clip("cpu")
    own = {id(tensor.untyped_storage()) for tensor in [x, *network.parameters()]}
    saved = {}

    def pack(tensor):
        if id(tensor.untyped_storage()) not in own:
            saved[id(tensor.untyped_storage())] = tensor  # kept, so that no other storage takes its number
        return tensor

    with LiveBytes() as live, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = network(x).square().mean()
    measured = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    assert live.now - loss.nbytes == pytest.approx(measured, rel=0.01)
    assert measured > 3 * 10 * TOKENS * WIDTH * 4


def test_a_real_network_needs_on_meta_what_it_needs_on_the_cpu():
    from diffusers import WanTransformer3DModel

    def cost(device):
        sizes = {"num_attention_heads": 2, "attention_head_dim": 32, "text_dim": 32, "ffn_dim": 128, "num_layers": 3}
        with torch.device(device):
            network = WanTransformer3DModel(**sizes)
            network.enable_gradient_checkpointing()
            inputs = torch.randn(1, 16, 5, 16, 16), torch.ones(1), torch.randn(1, 8, 32)
            return count_pass(network.train(), lambda: network(*inputs, return_dict=False)[0])

    # The CPU's attention works in other pieces than the GPU's, hence not to the digit.
    assert cost("meta").activations == pytest.approx(cost("cpu").activations, rel=0.05)


def test_with_checkpointing_each_layer_adds_its_input_and_no_more():
    few, many = (counted(Stack(layers, attends=True, checkpointing=True)) for layers in (4, 12))
    assert many.activations - few.activations == 8 * TOKENS * WIDTH * 4
    plain = counted(Stack(12, attends=True))
    assert plain.activations > 5 * many.activations


def test_scores_are_never_stored():
    """Attention's memory grows with the tokens, not with their square."""
    network = Stack(attends=True).to("meta")
    few, many = (torch.randn(1, tokens, WIDTH, device="meta") for tokens in (1024, 4096))
    costs = [count_pass(network, lambda x=x: network(x)) for x in (few, many)]
    assert costs[1].activations == pytest.approx(4 * costs[0].activations, rel=0.01)
    assert costs[1].flops > 8 * costs[0].flops


def test_attention_masks_do_cost_their_square():
    query = torch.randn(1, 4, 1024, 16, device="meta", requires_grad=True)
    mask = torch.ones(1, 1, 1024, 1024, dtype=torch.bool, device="meta")
    holder = nn.Linear(1, 1, device="meta")
    plain = count_pass(holder, lambda: F.scaled_dot_product_attention(query, query, query))
    masked = count_pass(holder, lambda: F.scaled_dot_product_attention(query, query, query, attn_mask=mask))
    assert masked.activations - plain.activations >= 1024 * 1024 * 4
    assert masked.flops == plain.flops


def test_operations_are_those_of_the_formula():
    network, x = Stack(1, attends=True).to("meta"), clip().requires_grad_()
    cost = count_pass(network, lambda: network(x))
    products, scores = 2 * TOKENS * 11 * WIDTH**2, 2 * TOKENS**2 * WIDTH
    assert cost.forward_flops == products + 2 * scores
    # Backward: each product twice, and of attention the scores, which were not kept, and four products.
    assert cost.flops == 3 * products + (2 + 5) * scores


def test_counting_leaves_no_gradient():
    network = Stack()
    counted(network, "cpu")
    assert all(weight.grad is None for weight in network.parameters())


def test_passes():
    assert counted(Stack()).passes == 3
    # What is computed again ends with the last product that the backward pass needs: not the one at the block's end.
    assert counted(Stack(checkpointing=True)).passes == 3.5


def test_an_adapter_costs_a_forward_pass_less():
    from peft import LoraConfig, inject_adapter_in_model

    def cost(checkpointing):
        network = Stack(8, checkpointing=checkpointing)
        inject_adapter_in_model(LoraConfig(r=1, target_modules=["up", "down"]), network)
        return counted(network), network

    (plain, network), (checkpointed, _) = cost(False), cost(True)
    assert plain.passes == pytest.approx(2, abs=0.1)
    assert checkpointed.passes == pytest.approx(3, abs=0.6)
    assert checkpointed.passes > plain.passes + 0.4
    assert count_parameters(network, trained=True) == 8 * 2 * (WIDTH + 4 * WIDTH)


def test_autocast_is_pytorchs():
    torch.manual_seed(0)
    theirs, ours, x = Stack(attends=False), Stack(attends=False), clip("cpu")
    for weight in theirs.parameters():
        weight.grad = torch.zeros_like(weight)
    with LiveBytes() as live:
        with torch.autocast("cpu", torch.bfloat16):
            loss = theirs(x).float().square().mean()
        loss.backward()
    assert count_pass(ours, lambda: ours(x), torch.bfloat16).activations == live.peak
    assert live.peak < counted(Stack(), "cpu").activations


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("averaged", [False, True])
def test_memory_of_weights_is_counted_in_their_dtype(dtype, averaged):
    network = Stack().to(dtype)
    network.blocks[0].requires_grad_(False)
    weights = sum(weight.numel() for weight in network.parameters()) * dtype.itemsize
    memory = step_memory(network, PassCost(1, 3, 1000), averaged)
    assert memory.weights == weights
    assert memory.gradients == memory.update == weights * 2 // 3
    assert memory.optimizer == 2 * memory.gradients
    assert memory.average == (memory.gradients if averaged else 0)
    assert memory.total == weights + (3 + averaged) * memory.gradients + memory.gradients


def test_the_peak_is_in_the_pass_or_in_the_update():
    memory = {"weights": 10, "gradients": 10, "optimizer": 20, "average": 0}
    assert StepMemory(**memory, activations=3, update=10).total == 50
    assert StepMemory(**memory, activations=30, update=10).total == 70


def test_adamw_holds_its_averages_and_for_a_moment_one_copy_more():
    network = Stack()
    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer = torch.optim.AdamW(network.parameters(), foreach=True)  # as it is on a GPU
    optimizer.step()
    states = sum(value.nbytes for state in optimizer.state.values() for name, value in state.items() if name != "step")
    with LiveBytes() as live:
        optimizer.step()
    memory = step_memory(network, PassCost(1, 3, 0), averaged=False)
    assert memory.optimizer == states
    assert memory.update == pytest.approx(live.peak, rel=0.01)


def test_functions_are_put_back_even_after_an_error():
    before = F.linear, F.scaled_dot_product_attention
    with pytest.raises(RuntimeError, match="no"):
        count_pass(nn.Linear(1, 1), lambda: (_ for _ in ()).throw(RuntimeError("no")), torch.bfloat16)
    assert (F.linear, F.scaled_dot_product_attention) == before


def test_hours():
    assert Accelerator("one", peak=1000, utilisation=0.5).hours(500 * 3600) == 1
    assert A100.hours(1e20) > H100.hours(1e20) > 0


@given(sizes=st.lists(st.integers(1, 2000), min_size=1, max_size=12), kept=st.sets(st.integers(0, 11)))
@settings(max_examples=40)
def test_bytes_alive_are_those_of_the_tensors_kept(sizes, kept):
    with LiveBytes() as live:
        tensors = [torch.zeros(size) for size in sizes]
        views = [tensor.view(1, -1) for tensor in tensors]
        assert live.now == live.peak == 4 * sum(sizes)
        del views
        tensors = [tensor for n, tensor in enumerate(tensors) if n in kept]
        assert live.now == 4 * sum(size for n, size in enumerate(sizes) if n in kept)
        for tensor in tensors:
            tensor.add_(1)
        assert live.now == 4 * sum(size for n, size in enumerate(sizes) if n in kept)
    assert live.peak == 4 * sum(sizes)
