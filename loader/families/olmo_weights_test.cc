// Checkpoints whose tensors do not fit their config, made from golden ones by changing one thing.
#include "loader/families/olmo_weights.h"

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/families/olmo.h"
#include "loader/safetensors/safetensors.h"

namespace mneme::loader {
namespace {

using testing::HasSubstr;

using Tensors = std::map<std::string, StoredTensor>;

// The tensors of a golden checkpoint, changeable.
class ChangedFiles : public TensorFiles {
 public:
  explicit ChangedFiles(const std::string& name) {
    auto file = SafetensorsFile::Open("tests/golden/" + name + "/model.safetensors");
    EXPECT_TRUE(file.ok()) << file.status();
    file_ = *std::move(file);
    tensors_ = file_->tensors();
  }
  Tensors& changeable() { return tensors_; }
  const Tensors& tensors() const override { return tensors_; }
  int64_t file_bytes() const override { return file_->file_bytes(); }
  void DropPages(std::span<const uint8_t> part) const override { file_->DropPages(part); }

 private:
  std::shared_ptr<const SafetensorsFile> file_;
  Tensors tensors_;
};

std::string Error(const std::string& name, const std::function<void(Tensors&)>& change) {
  const auto config = ReadOlmoConfig("tests/golden/" + name + "/config.yaml");
  EXPECT_TRUE(config.ok()) << config.status();
  ChangedFiles files(name);
  EXPECT_TRUE(InspectOlmo(*config, files, "m.st").ok());
  change(files.changeable());
  const auto model = InspectOlmo(*config, files, "m.st");
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(model.status().message());
}

TEST(OlmoWeightsTest, MissingTensorsAreRefused) {
  for (const char* missing :
       {"transformer.wte.weight", "transformer.ln_f.bias", "transformer.blocks.3.att_proj.weight",
        "transformer.blocks.5.q_norm.bias", "transformer.mem_blocks.1.keys_norm.bias",
        "transformer.mem_blocks.0.tucker_core.1", "transformer.ff_out.bias",
        "transformer.emb_norm.weight", "transformer.full_memory_layer.pre_values_for_look_up"}) {
    const std::string error =
        Error("ultramem_v2_options", [&](Tensors& tensors) { tensors.erase(missing); });
    EXPECT_THAT(error,
                HasSubstr("tensor \"" + std::string(missing) + "\": is missing; expected ["));
  }
  EXPECT_THAT(Error("memory_plus",
                    [](Tensors& tensors) {
                      tensors.erase("transformer.mem_blocks.2.swilu_projection.weight");
                    }),
              HasSubstr("m.st: tensor \"transformer.mem_blocks.2.swilu_projection.weight\": is "
                        "missing; expected [64, 64]"));
}

TEST(OlmoWeightsTest, ExtraTensorsAreRefused) {
  const auto add = [](Tensors& tensors) {
    StoredTensor extra = tensors.at("transformer.ln_f.weight");
    extra.name = "transformer.blocks.9.ff_norm.weight";
    tensors[extra.name] = extra;
  };
  EXPECT_THAT(Error("dense", add), HasSubstr("1 tensor that this model does not have: "
                                             "\"transformer.blocks.9.ff_norm.weight\" [64] F32"));
}

TEST(OlmoWeightsTest, MisshapenTensorsAreRefused) {
  const auto reshape = [](const char* name, std::vector<int64_t> shape) {
    return [=](Tensors& tensors) { tensors.at(name).shape = shape; };
  };
  EXPECT_THAT(Error("ultramem_v2", reshape("transformer.wte.weight", {128, 128})),
              HasSubstr("model.safetensors: tensor \"transformer.wte.weight\": expected [256, 64], "
                        "file has [128, 128] F32"));
  EXPECT_THAT(Error("ultramem_v2", reshape("transformer.mem_blocks.1.keys", {1, 2, 32, 38, 2})),
              HasSubstr("expected [1, 2, 38, 32, 2], file has [1, 2, 32, 38, 2]"));
  EXPECT_THAT(Error("ultramem_v2", reshape("transformer.mem_blocks.1.shuffle_index", {1440})),
              HasSubstr("expected [1444], file has [1440] I64"));
  EXPECT_THAT(
      Error("ultramem_v1_skip", reshape("transformer.mem_blocks.1.values_for_look_up", {128, 64})),
      HasSubstr("expected [256, 32], file has [128, 64]"));
}

TEST(OlmoWeightsTest, OtherDTypesAreRefused) {
  const auto retype = [](const char* name, StoredDType dtype) {
    return [=](Tensors& tensors) { tensors.at(name).dtype = dtype; };
  };
  EXPECT_THAT(Error("dense", retype("transformer.blocks.0.ff_proj.weight", StoredDType::kF64)),
              HasSubstr("dtype F64 is not served; served are F32, BF16 and F16"));
  EXPECT_THAT(
      Error("ultramem_v2", retype("transformer.mem_blocks.0.shuffle_index", StoredDType::kF64)),
      HasSubstr("expected dtype I64, file has F64"));
  EXPECT_THAT(Error("ultramem_v2",
                    retype("transformer.full_memory_layer.values_for_look_up", StoredDType::kBf16)),
              HasSubstr("is F32, but the values are BF16; a row has one dtype"));
}

// Of a layer whose output is lost, too: `inspect` must not call a file fine that is damaged.
TEST(OlmoWeightsTest, ShufflesMustBePermutations) {
  for (const char* layer : {"0", "1"}) {
    const std::string name = std::string("transformer.mem_blocks.") + layer + ".shuffle_index";
    std::vector<int64_t> damaged;
    const auto repeat_first = [&](Tensors& tensors) {
      StoredTensor& tensor = tensors.at(name);
      damaged.resize(tensor.bytes.size() / sizeof(int64_t));
      std::memcpy(damaged.data(), tensor.bytes.data(), tensor.bytes.size());
      damaged[7] = damaged[0];
      tensor.bytes = {reinterpret_cast<const uint8_t*>(damaged.data()), tensor.bytes.size()};
    };
    const std::string error = Error("ultramem_v2_corners", repeat_first);
    EXPECT_THAT(error, HasSubstr("tensor \"" + name + "\": element 7 is " +
                                 std::to_string(damaged[0]) + ", which is there twice"));
  }
}

TEST(OlmoWeightsTest, AnUntrainedMemoryIsRefused) {
  static const uint8_t kZeros[64] = {};
  const auto zero = [](const std::string& name) {
    return [=](Tensors& tensors) {
      StoredTensor& tensor = tensors.at(name);
      tensor.bytes = {kZeros, tensor.bytes.size()};
    };
  };
  for (const char* direction : {"u", "v"}) {
    EXPECT_THAT(Error("ultramem_v2",
                      zero(std::string("transformer.mem_blocks.1.tucker_core_") + direction)),
                HasSubstr("is all zero: the checkpoint was never trained"));
  }
}

// In any dtype: minus zero is zero, and 2.0 has its only bit in its highest byte.
TEST(OlmoWeightsTest, ASignAloneIsNoTraining) {
  const auto config = ReadOlmoConfig("tests/golden/ultramem_v2/config.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  for (const StoredDType dtype : {StoredDType::kF32, StoredDType::kBf16, StoredDType::kF16}) {
    for (const uint8_t highest : {0x80, 0x40}) {
      ChangedFiles files("ultramem_v2");
      StoredTensor& tensor = files.changeable().at("transformer.mem_blocks.1.tucker_core_u");
      tensor.dtype = dtype;
      std::vector<uint8_t> bytes(static_cast<size_t>(tensor.elements() * StoredDTypeBytes(dtype)),
                                 0);
      bytes.back() = highest;
      tensor.bytes = bytes;
      EXPECT_EQ(InspectOlmo(*config, files, "m.st").ok(), highest == 0x40)
          << StoredDTypeName(dtype);
    }
  }
}

TEST(OlmoWeightsTest, ALostLayerMayBeUntrained) {
  static const uint8_t kZeros[64] = {};
  const auto config = ReadOlmoConfig("tests/golden/ultramem_v2_corners/config.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  ChangedFiles files("ultramem_v2_corners");
  StoredTensor& tensor = files.changeable().at("transformer.mem_blocks.0.tucker_core_u");
  tensor.bytes = {kZeros, tensor.bytes.size()};
  EXPECT_TRUE(InspectOlmo(*config, files, "m.st").ok());
}

}  // namespace
}  // namespace mneme::loader
