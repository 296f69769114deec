#include "engine/graph/test_models.h"

namespace mneme::graph {

loader::ModelDescription DenseTestModel(int64_t layers) {
  loader::ModelDescription m;
  m.family = "olmo";
  m.architecture = "dense";
  m.dim = 64;
  m.layers = layers;
  m.vocab_size = 256;
  m.embedding_size = 256;
  m.max_sequence_length = 128;
  m.attention.heads = 4;
  m.attention.kv_heads = 4;
  m.attention.head_dim = 16;
  m.attention.qk_norm = loader::NormDescription{};
  m.ffn.hidden = 128;
  return m;
}

loader::ModelDescription MemoryTestModel(int64_t layers) {
  loader::ModelDescription m = DenseTestModel(layers);
  m.architecture = "ultramem_v2";
  loader::MemoryDescription memory;
  for (int64_t block = 0; block < layers; ++block) memory.layers.push_back({block, block, false});
  memory.top_k = 16;
  memory.key_dim = 32;
  memory.key_count = 40;
  memory.rank = 2;
  memory.cores = 2;
  memory.query_chunks = 4;
  memory.heads_per_group = 2;
  memory.keys_norm = loader::NormDescription{};
  memory.slots = 1600;
  memory.value_dim = 32;
  memory.pre_value_dim = 16;
  memory.window = 400;
  memory.offset_step = 400;
  memory.shuffled = true;
  memory.virtual_slots = 1600;
  m.memory = memory;
  return m;
}

loader::ModelDescription MoeTestModel(int64_t layers) {
  loader::ModelDescription m = DenseTestModel(layers);
  m.architecture = "olmoe";
  m.attention.qk_norm_whole = true;
  m.attention.clip_qkv = 1.0f;
  m.attention.clip_after_norm = true;
  m.ffn = {};
  m.moe = {.experts = 8, .top_k = 2, .hidden = 96};
  m.tied_head = false;
  return m;
}

WeightTypes Bf16Weights() {
  return [](const loader::WeightId&) { return v1::BF16; };
}

}  // namespace mneme::graph
