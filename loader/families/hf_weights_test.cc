#include "loader/families/hf_weights.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

using testing::HasSubstr;

// Tensors without bytes.
class Files : public TensorFiles {
 public:
  const std::map<std::string, StoredTensor>& tensors() const override { return tensors_; }
  int64_t file_bytes() const override { return 0; }
  void DropPages(std::span<const uint8_t>) const override {}

  void Add(const std::string& name, std::vector<int64_t> shape) {
    StoredTensor& tensor = tensors_[name];
    tensor.name = name;
    tensor.file = "m.safetensors";
    tensor.shape = std::move(shape);
  }
  void Remove(const std::string& name) { ASSERT_EQ(tensors_.erase(name), 1u) << name; }
  const StoredTensor* Of(const std::string& name) const { return &tensors_.at(name); }

 private:
  std::map<std::string, StoredTensor> tensors_;
};

ModelDescription Model() {
  ModelDescription model;
  model.dim = 8;
  model.layers = 2;
  model.vocab_size = 20;
  model.embedding_size = 20;
  model.attention.heads = 4;
  model.attention.kv_heads = 2;
  model.attention.head_dim = 6;
  model.moe = {.experts = 3, .top_k = 2, .hidden = 5};
  model.tied_head = false;
  return model;
}

const std::string kBlocks[] = {"model.layers.0.", "model.layers.1."};

// All but the experts.
Files Common() {
  Files files;
  files.Add("model.embed_tokens.weight", {20, 8});
  files.Add("model.norm.weight", {8});
  files.Add("lm_head.weight", {20, 8});
  for (const std::string& block : kBlocks) {
    files.Add(block + "input_layernorm.weight", {8});
    files.Add(block + "post_attention_layernorm.weight", {8});
    files.Add(block + "self_attn.q_proj.weight", {24, 8});
    files.Add(block + "self_attn.k_proj.weight", {12, 8});
    files.Add(block + "self_attn.v_proj.weight", {12, 8});
    files.Add(block + "self_attn.o_proj.weight", {8, 24});
  }
  return files;
}

void AddSeparate(const std::string& layer, const char* gate, const char* up, const char* down,
                 Files* files) {
  files->Add(layer + "gate.weight", {3, 8});
  for (const char* e : {"experts.0.", "experts.1.", "experts.2."}) {
    files->Add(layer + e + gate + ".weight", {5, 8});
    files->Add(layer + e + up + ".weight", {5, 8});
    files->Add(layer + e + down + ".weight", {8, 5});
  }
}

void AddFused(const std::string& layer, Files* files) {
  files->Add(layer + "gate.weight", {3, 8});
  files->Add(layer + "experts.gate_up_proj", {3, 10, 8});
  files->Add(layer + "experts.down_proj", {3, 8, 5});
}

std::string Error(const Files& files, const ModelDescription& model = Model()) {
  const auto mapped = MapHfWeights(model, files, "m.safetensors");
  return mapped.ok() ? "" : std::string(mapped.status().message());
}

// Expert `e` of block `block` in a fused tensor.
void ExpectFused(const FamilyModel& family, const Files& files, const std::string& layer,
                 int32_t block, int64_t e) {
  const auto part = [&](Role role) {
    return family.weights.at({role, block}).parts.at(static_cast<size_t>(e));
  };
  EXPECT_EQ(part(Role::kExpertGate).tensor, files.Of(layer + "experts.gate_up_proj"));
  EXPECT_EQ(part(Role::kExpertGate).first_row, 10 * e);
  EXPECT_EQ(part(Role::kExpertGate).rows, 5);
  EXPECT_EQ(part(Role::kExpertGate).cols, 8);
  EXPECT_EQ(part(Role::kExpertUp).first_row, 10 * e + 5);
  EXPECT_EQ(part(Role::kExpertDown).tensor, files.Of(layer + "experts.down_proj"));
  EXPECT_EQ(part(Role::kExpertDown).first_row, 8 * e);
  EXPECT_EQ(part(Role::kExpertDown).rows, 8);
  EXPECT_EQ(part(Role::kExpertDown).cols, 5);
}

// One block of each kind, under each of the two names of the layer.
TEST(HfWeightsTest, ExpertsSeparateAndFusedBlockByBlock) {
  Files files = Common();
  AddSeparate(kBlocks[0] + "block_sparse_moe.", "w1", "w3", "w2", &files);
  AddFused(kBlocks[1] + "block_sparse_moe.", &files);
  files.Add(kBlocks[0] + "self_attn.rotary_emb.inv_freq", {3});
  const auto family = MapHfWeights(Model(), files, "m.safetensors");
  ASSERT_TRUE(family.ok()) << family.status();
  for (size_t e : {0, 1, 2}) {
    const auto part = family->weights.at({Role::kExpertUp, 0}).parts.at(e);
    EXPECT_EQ(part.tensor, files.Of(kBlocks[0] + "block_sparse_moe.experts." + std::to_string(e) +
                                    ".w3.weight"));
    EXPECT_EQ(part.rows, 5);
    ExpectFused(*family, files, kBlocks[1] + "block_sparse_moe.", 1, static_cast<int64_t>(e));
  }
  EXPECT_FALSE(family->model.tied_head);

  Files others = Common();
  AddFused(kBlocks[0] + "mlp.", &others);
  AddSeparate(kBlocks[1] + "mlp.", "gate_proj", "up_proj", "down_proj", &others);
  const auto second = MapHfWeights(Model(), others, "m.safetensors");
  ASSERT_TRUE(second.ok()) << second.status();
  ExpectFused(*second, others, kBlocks[0] + "mlp.", 0, 2);
  EXPECT_EQ(second->weights.at({Role::kExpertDown, 1}).parts.at(2).tensor,
            others.Of(kBlocks[1] + "mlp.experts.2.down_proj.weight"));
}

TEST(HfWeightsTest, SharedExpertsAndDenseBlocks) {
  ModelDescription model = Model();
  model.moe->shared_hidden = 7;
  model.moe->dense_blocks = {0};
  model.ffn.hidden = 9;
  Files files = Common();
  AddFused(kBlocks[1] + "mlp.", &files);
  for (const auto& [prefix, width] :
       {std::pair(kBlocks[0] + "mlp.", 9), std::pair(kBlocks[1] + "mlp.shared_expert.", 7)}) {
    files.Add(prefix + "gate_proj.weight", {width, 8});
    files.Add(prefix + "up_proj.weight", {width, 8});
    files.Add(prefix + "down_proj.weight", {8, width});
  }
  EXPECT_THAT(Error(files, model),
              HasSubstr("\"model.layers.1.mlp.shared_expert_gate.weight\": is missing"));
  files.Add(kBlocks[1] + "mlp.shared_expert_gate.weight", {1, 8});
  const auto family = MapHfWeights(model, files, "m.safetensors");
  ASSERT_TRUE(family.ok()) << family.status();
  EXPECT_EQ(family->weights.at({Role::kFfnUp, 0}).parts.at(0).rows, 9);
  EXPECT_EQ(family->weights.at({Role::kFfnUp, 1}).parts.at(0).rows, 7);
  EXPECT_EQ(family->weights.count({Role::kRouter, 0}), 0u);
}

Files Whole() {
  Files files = Common();
  for (const std::string& block : kBlocks) AddFused(block + "mlp.", &files);
  return files;
}

TEST(HfWeightsTest, TheHeadIsWhatIsStored) {
  ModelDescription tied = Model();
  tied.tied_head = true;
  Files files = Whole();
  const auto untied = MapHfWeights(tied, files, "m.safetensors");
  ASSERT_TRUE(untied.ok()) << untied.status();
  EXPECT_FALSE(untied->model.tied_head);
  EXPECT_EQ(untied->weights.at({Role::kHead}).parts.at(0).tensor, files.Of("lm_head.weight"));
  files.Remove("lm_head.weight");
  const auto shared = MapHfWeights(tied, files, "m.safetensors");
  ASSERT_TRUE(shared.ok()) << shared.status();
  EXPECT_TRUE(shared->model.tied_head);
  EXPECT_EQ(shared->weights.at({Role::kHead}).parts.at(0).tensor,
            files.Of("model.embed_tokens.weight"));
  EXPECT_THAT(Error(files), HasSubstr("\"lm_head.weight\": is missing; expected [20, 8]"));
}

TEST(HfWeightsTest, RefusesByName) {
  Files missing = Whole();
  missing.Remove("model.layers.1.mlp.experts.down_proj");
  EXPECT_THAT(Error(missing), HasSubstr("\"model.layers.1.mlp.experts.down_proj\": is missing"));
  Files shaped = Whole();
  shaped.Add("model.layers.0.mlp.experts.gate_up_proj", {3, 8, 10});
  EXPECT_THAT(Error(shaped), HasSubstr("gate_up_proj\": expected [3, 10, 8], file has [3, 8, 10]"));
  Files extra = Whole();
  extra.Add("model.layers.0.self_attn.q_proj.bias", {24});
  EXPECT_THAT(Error(extra), HasSubstr("1 tensor that this model does not have: "
                                      "\"model.layers.0.self_attn.q_proj.bias\" [24] F32"));
  Files router = Whole();
  router.Remove("model.layers.0.mlp.gate.weight");
  EXPECT_THAT(Error(router), HasSubstr("\"model.layers.0.mlp.gate.weight\": is missing"));
}

// What is missing has the name that stands beside the rest of the layer.
TEST(HfWeightsTest, AsksForNamesOfTheLayersOwnKind) {
  const std::string mixtral = kBlocks[0] + "block_sparse_moe.";
  Files whole = Common();
  AddSeparate(mixtral, "w1", "w3", "w2", &whole);
  AddFused(kBlocks[1] + "mlp.", &whole);
  EXPECT_EQ(Error(whole), "");
  for (const char* name : {"gate.weight", "experts.0.w1.weight", "experts.2.w2.weight"}) {
    Files missing = whole;
    missing.Remove(mixtral + name);
    EXPECT_THAT(Error(missing), HasSubstr("\"" + mixtral + name + "\": is missing"));
  }
  Files fused = whole;
  fused.Remove(kBlocks[1] + "mlp.experts.gate_up_proj");
  EXPECT_THAT(Error(fused), HasSubstr("mlp.experts.gate_up_proj\": is missing"));
  // With nothing to go by, the architecture's.
  ModelDescription model = Model();
  EXPECT_THAT(Error(Common(), model), HasSubstr("layers.0.mlp.gate.weight\": is missing"));
  model.architecture = "mixtral";
  EXPECT_THAT(Error(Common(), model), HasSubstr(mixtral + "gate.weight\": is missing"));
}

}  // namespace
}  // namespace mneme::loader
