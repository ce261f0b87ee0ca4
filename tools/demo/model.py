"""
model.py - the networks of the demo in PyTorch, with the tensor names of the released Video-LLaMA checkpoint.

  frames [n,3,112,112] -> ViT -> Q-Former [n,10,128] -> + position -> Video Q-Former [1,18,128] -> llama_proj --------+
  mel [8,128,204] -> ImageBind's sound tower [8,128] -> + position -> Audio Q-Former [1,4,128] -> audio_llama_proj -+-+-> LLaMA

Only the sizes differ from the released model.
Ref:   src/systems/video_llama.md.
Trap:  norms have five different epsilons; the ViT has no key bias; position tables start as sines with an amplitude that
       matters (beside patch rows of length 2.7 a table of 0.02 is never found by the training).
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SIDE, PATCH, VIT, VIT_BLOCKS, VIT_HEADS = 112, 14, 96, 5, 4
WIDTH, HEADS, HIDDEN = 128, 4, 256  # every Q-Former
FRAME_QUERIES, VIDEO_QUERIES, AUDIO_QUERIES = 10, 18, 4
STEM, STRIDE, AUDIO, AUDIO_BLOCKS, AUDIO_HEADS, AUDIO_OUT = 16, 16, 96, 5, 4, 128
MEL_ROWS, MEL_COLUMNS = 8, 12  # patches of 128 x 204 at stride 16
LLM, LLM_BLOCKS, LLM_HEADS, LLM_HIDDEN = 128, 4, 4, 384
FRAMES_MAX, CLIPS = 32, 8


def heads_of(x, heads):
    return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def merged(x):
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1)


def sines(n, width, amplitude):
    """[n, width]: position i as sines and cosines"""
    step = torch.exp(torch.arange(width // 2) * (-math.log(100.0) / max(width // 2 - 1, 1)))
    angle = torch.arange(n)[:, None] * step[None] * 1.5
    return amplitude * torch.cat([angle.sin(), angle.cos()], 1)


def sines_2d(rows, columns, width, amplitude):
    y, x = sines(rows, width // 2, amplitude), sines(columns, width // 2, amplitude)
    return torch.cat([y[:, None].expand(-1, columns, -1), x[None].expand(rows, -1, -1)], 2).reshape(rows * columns, width)


class Mlp(nn.Module):

    def __init__(self, width, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


# ---- EVA-style image tower


class VitAttention(nn.Module):

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        q, k, v = (heads_of(y, self.heads) for y in F.linear(x, self.qkv.weight, bias).chunk(3, -1))
        return self.proj(merged(F.scaled_dot_product_attention(q, k, v)))


class VitBlock(nn.Module):

    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = VitAttention(width, heads), Mlp(width, 4 * width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):

    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, VIT, PATCH, PATCH)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Vit(nn.Module):

    def __init__(self):
        super().__init__()
        grid = SIDE // PATCH
        self.patch_embed = PatchEmbed()
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, VIT))
        self.pos_embed = nn.Parameter(torch.cat([torch.zeros(1, VIT), sines_2d(grid, grid, VIT, 1.5)])[None].clone())
        self.blocks = nn.ModuleList([VitBlock(VIT, VIT_HEADS) for _ in range(VIT_BLOCKS)])

    def forward(self, pixels, tap=None):
        """-> rows after the last block [n,65,96], rows after block `tap`"""
        x = self.patch_embed(pixels)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.pos_embed
        tapped = None
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i + 1 == tap:
                tapped = x
        return x, tapped


# ---- Q-Formers


class Named(nn.Module):
    """A holder of sub-modules, for the long names of BERT."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class Attention(nn.Module):

    def __init__(self, encoder):
        super().__init__()
        self.self = Named(query=nn.Linear(WIDTH, WIDTH), key=nn.Linear(encoder, WIDTH), value=nn.Linear(encoder, WIDTH))
        self.output = Named(dense=nn.Linear(WIDTH, WIDTH), LayerNorm=nn.LayerNorm(WIDTH, eps=1e-12))

    def forward(self, x, rows):
        """-> (x after the attention to rows, its weights [n,heads,Q,rows])"""
        q, k, v = (heads_of(layer(y), HEADS)
                   for layer, y in ((self.self.query, x), (self.self.key, rows), (self.self.value, rows)))
        weights = (q @ k.transpose(-1, -2) / math.sqrt(WIDTH // HEADS)).softmax(-1)
        return self.output.LayerNorm(self.output.dense(merged(weights @ v)) + x), weights


class Layer(nn.Module):

    def __init__(self, encoder):
        super().__init__()
        self.attention = Attention(WIDTH)
        if encoder:
            self.crossattention = Attention(encoder)
        self.intermediate_query = Named(dense=nn.Linear(WIDTH, HIDDEN))
        self.output_query = Named(dense=nn.Linear(HIDDEN, WIDTH), LayerNorm=nn.LayerNorm(WIDTH, eps=1e-12))

    def forward(self, x, rows):
        weights = None
        x, _ = self.attention(x, x)
        if hasattr(self, "crossattention"):
            x, weights = self.crossattention(x, rows)
        y = self.output_query.dense(F.gelu(self.intermediate_query.dense(x)))
        return self.output_query.LayerNorm(y + x), weights


class QFormer(nn.Module):
    """Two layers; interval 2: only the first looks at the rows."""

    def __init__(self, encoder, interval):
        super().__init__()
        layers = nn.ModuleList([Layer(encoder if i % interval == 0 else 0) for i in range(2)])
        self.bert = Named(embeddings=Named(LayerNorm=nn.LayerNorm(WIDTH, eps=1e-12)), encoder=Named(layer=layers))

    def forward(self, query, rows):
        x = self.bert.embeddings.LayerNorm(query).expand(rows.shape[0], -1, -1)
        first = None
        for layer in self.bert.encoder.layer:
            x, weights = layer(x, rows)
            first = weights if first is None else first
        return x, first


# ---- ImageBind-style sound tower


class AudioAttention(nn.Module):

    def __init__(self):
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * AUDIO, AUDIO))
        nn.init.xavier_uniform_(self.in_proj_weight)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * AUDIO))
        self.bias_k, self.bias_v = (nn.Parameter(0.02 * torch.randn(1, 1, AUDIO)) for _ in range(2))
        self.out_proj = nn.Linear(AUDIO, AUDIO)

    def forward(self, x):
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        k, v = (torch.cat([y, extra.expand(x.shape[0], -1, -1)], 1) for y, extra in ((k, self.bias_k), (v, self.bias_v)))
        return self.out_proj(merged(F.scaled_dot_product_attention(*(heads_of(y, AUDIO_HEADS) for y in (q, k, v)))))


class AudioBlock(nn.Module):

    def __init__(self):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(AUDIO, eps=1e-6), nn.LayerNorm(AUDIO, eps=1e-6)
        self.attn, self.mlp = AudioAttention(), Mlp(AUDIO, 4 * AUDIO)

    def forward(self, x):
        x = x + self.attn(self.norm_1(x))
        return x + self.mlp(self.norm_2(x))


class Pick(nn.Module):

    def forward(self, x):
        return x[:, 0]


class AudioTower(nn.Module):

    def __init__(self):
        super().__init__()
        stem = Named(proj=nn.Conv2d(1, AUDIO, STEM, STRIDE, bias=False), norm_layer=nn.LayerNorm(AUDIO, eps=1e-5))
        table = torch.cat([torch.zeros(1, AUDIO), sines_2d(MEL_ROWS, MEL_COLUMNS, AUDIO, 0.5)])[None].clone()
        self.modality_preprocessors = Named(audio=Named(rgbt_stem=stem, pos_embedding_helper=Named()))
        self.modality_preprocessors.audio.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, AUDIO))
        self.modality_preprocessors.audio.pos_embedding_helper.pos_embed = nn.Parameter(table)
        self.modality_trunks = Named(audio=Named(blocks=nn.ModuleList([AudioBlock() for _ in range(AUDIO_BLOCKS)])))
        head = nn.Sequential(nn.LayerNorm(AUDIO, eps=1e-6), Pick(), nn.Linear(AUDIO, AUDIO_OUT, bias=False))
        self.modality_heads = Named(audio=head)
        self.modality_postprocessors = Named(audio=nn.ModuleList([nn.Identity(), Named()]))
        self.modality_postprocessors.audio[1].register_buffer("log_logit_scale", torch.tensor(math.log(20.0)))

    def forward(self, mel, taps=()):
        """mel [n,128,204] -> ([n,128] of length 20, {block: rows [n,97,96]})"""
        first = self.modality_preprocessors.audio
        x = first.rgbt_stem.norm_layer(first.rgbt_stem.proj(mel[:, None]).flatten(2).transpose(1, 2))
        x = torch.cat([first.cls_token.expand(x.shape[0], -1, -1), x], 1) + first.pos_embedding_helper.pos_embed
        tapped = {}
        for i, block in enumerate(self.modality_trunks.audio.blocks):
            x = block(x)
            if i + 1 in taps:
                tapped[i + 1] = x
        z = self.modality_heads.audio(x)
        return 20 * F.normalize(z, dim=-1), tapped


# ---- LLaMA


class RmsNorm(nn.Module):

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class LlamaAttention(nn.Module):

    def __init__(self):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(LLM, LLM, bias=False) for _ in range(4))

    def forward(self, x, cos, sin, mask):

        def turned(y):
            a, b = y.chunk(2, -1)
            return y * cos + torch.cat([-b, a], -1) * sin

        q, k, v = (heads_of(layer(x), LLM_HEADS) for layer in (self.q_proj, self.k_proj, self.v_proj))
        return self.o_proj(merged(F.scaled_dot_product_attention(turned(q), turned(k), v, attn_mask=mask)))


class LlamaMlp(nn.Module):

    def __init__(self):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(LLM, LLM_HIDDEN, bias=False), nn.Linear(LLM, LLM_HIDDEN, bias=False)
        self.down_proj = nn.Linear(LLM_HIDDEN, LLM, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaLayer(nn.Module):

    def __init__(self):
        super().__init__()
        self.self_attn, self.mlp = LlamaAttention(), LlamaMlp()
        self.input_layernorm, self.post_attention_layernorm = RmsNorm(LLM), RmsNorm(LLM)

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):

    def __init__(self, vocabulary):
        super().__init__()
        layers = nn.ModuleList([LlamaLayer() for _ in range(LLM_BLOCKS)])
        self.model = Named(embed_tokens=nn.Embedding(vocabulary, LLM), layers=layers, norm=RmsNorm(LLM))
        self.lm_head = nn.Linear(LLM, vocabulary, bias=False)
        nn.init.normal_(self.model.embed_tokens.weight, std=0.5)

    def forward(self, rows, positions, mask):
        """rows [B,T,128], positions [B,T], mask [B,1,T,T] (true: may be seen) -> rows [B,T,128] before lm_head"""
        head = LLM // LLM_HEADS
        step = 10000.0**(-torch.arange(0, head, 2) / head)
        angle = positions[..., None] * step
        angle = torch.cat([angle, angle], -1)[:, None]
        cos, sin = angle.cos(), angle.sin()
        for layer in self.model.layers:
            rows = layer(rows, cos, sin, mask)
        return self.model.norm(rows)


class VideoLlama(nn.Module):
    """Everything, under the names of VideoLLAMA.state_dict()."""

    def __init__(self, vocabulary=800):
        super().__init__()
        self.visual_encoder, self.ln_vision = Vit(), nn.LayerNorm(VIT, eps=1e-5)
        self.query_tokens = nn.Parameter(torch.randn(1, FRAME_QUERIES, WIDTH))
        self.Qformer = QFormer(VIT, 2)
        self.video_frame_position_embedding = nn.Embedding(FRAMES_MAX, WIDTH)
        self.video_frame_position_embedding.weight.data = sines(FRAMES_MAX, WIDTH, 0.5)
        self.video_query_tokens = nn.Parameter(torch.randn(1, VIDEO_QUERIES, WIDTH))
        self.video_Qformer = QFormer(WIDTH, 1)
        self.llama_proj = nn.Linear(WIDTH, LLM)
        self.audio_encoder = AudioTower()
        self.audio_position_embedding = nn.Embedding(CLIPS, AUDIO_OUT)
        self.audio_position_embedding.weight.data = sines(CLIPS, AUDIO_OUT, 0.7)
        self.audio_query_tokens = nn.Parameter(torch.randn(1, AUDIO_QUERIES, WIDTH))
        self.audio_Qformer = QFormer(AUDIO_OUT, 1)
        self.audio_llama_proj = nn.Linear(WIDTH, LLM)
        self.llama_model = Llama(vocabulary)

    def look(self, pixels):
        """[n,3,112,112] -> [n,10,128]"""
        rows, _ = self.visual_encoder(pixels)
        return self.Qformer(self.query_tokens, self.ln_vision(rows))[0]

    def watch(self, looks):
        """[b,t,10,128] -> [b,18,128]"""
        b, t = looks.shape[:2]
        rows = looks + self.video_frame_position_embedding.weight[:t, None]
        return self.video_Qformer(self.video_query_tokens, rows.reshape(b, -1, WIDTH))[0]

    def hear(self, sounds):
        """[b,8,128] -> [b,4,128]"""
        return self.audio_Qformer(self.audio_query_tokens, sounds + self.audio_position_embedding.weight)[0]
