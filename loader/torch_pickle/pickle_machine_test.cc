#include "loader/torch_pickle/pickle_machine.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/torch_pickle/pickle_opcodes.h"
#include "loader/torch_pickle/test_torch_zip.h"

namespace mneme::loader {
namespace {

using testing::HasSubstr;

absl::StatusOr<std::vector<PickledTensor>> Interpret(const std::string& pickle) {
  return RunPickle({reinterpret_cast<const uint8_t*>(pickle.data()), pickle.size()});
}

std::string Repeat(const std::string& text, int times) {
  std::string repeated;
  for (int i = 0; i < times; ++i) repeated += text;
  return repeated;
}

// A pickle of protocol 2 with this after its first opcode.
std::string Protocol2(const std::string& rest) { return "\x80\x02" + rest; }

TEST(PickleMachineTest, ReadsADictOfTensors) {
  const std::string weight =
      PickleTensor(PickleStorage("FloatStorage", "0", 24), 4, {2, 3}, {6, 1});
  const std::string index =
      PickleTensor(PickleStorage("LongStorage", "7", int64_t{1} << 33), 0, {5}, {1});
  const auto tensors = Interpret(PickleDict({{"w", weight}, {"i", index}}));
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  ASSERT_EQ(tensors->size(), 2u);
  const PickledTensor& first = tensors->at(0);
  EXPECT_EQ(first.name, "w");
  EXPECT_EQ(first.dtype, StoredDType::kF32);
  EXPECT_EQ(first.storage, "0");
  EXPECT_EQ(first.storage_elements, 24);
  EXPECT_EQ(first.offset, 4);
  EXPECT_EQ(first.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(first.strides, (std::vector<int64_t>{6, 1}));
  EXPECT_EQ(tensors->at(1).dtype, StoredDType::kI64);
  EXPECT_EQ(tensors->at(1).storage_elements, int64_t{1} << 33);
}

TEST(PickleMachineTest, KnowsEveryStorage) {
  const std::vector<std::pair<const char*, StoredDType>> storages = {
      {"FloatStorage", StoredDType::kF32},
      {"HalfStorage", StoredDType::kF16},
      {"BFloat16Storage", StoredDType::kBf16},
      {"DoubleStorage", StoredDType::kF64},
      {"LongStorage", StoredDType::kI64}};
  for (const auto& [type, dtype] : storages) {
    const auto tensors =
        Interpret(PickleDict({{"t", PickleTensor(PickleStorage(type, "0", 1), 0, {}, {})}}));
    ASSERT_TRUE(tensors.ok()) << tensors.status();
    EXPECT_EQ(tensors->at(0).dtype, dtype);
    EXPECT_TRUE(tensors->at(0).shape.empty());
  }
}

TEST(PickleMachineTest, TheMemoRecallsWhatItRemembered) {
  // The dict's own class and a key come back from the memo.
  const std::string pickle =
      Protocol2("ccollections\nOrderedDict\nq" + std::string(1, '\0') + ")R(" + PickleString("t") +
                "q\x01" + "ctorch._utils\n_rebuild_tensor_v2\nr" + LittleEndian(2, 4) + "(" +
                PickleStorage("FloatStorage", "0", 1) + "K" + std::string(1, '\0') + ")" + ")" +
                "\x88" + "h" + std::string(1, '\0') + ")RtRu.");
  const auto tensors = Interpret(pickle);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_EQ(tensors->at(0).name, "t");
}

TEST(PickleMachineTest, MetadataIsDropped) {
  const std::string start = Protocol2("ccollections\nOrderedDict\n)R");
  const std::string versions = PickleString("") + "}" + PickleString("version") + "K\x01s";
  const std::string metadata =
      "}" + PickleString("_metadata") + "ccollections\nOrderedDict\n)R(" + versions + "us" + "b.";
  const auto tensors = Interpret(start + metadata);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_TRUE(tensors->empty());
}

TEST(PickleMachineTest, RefusesEveryTruncation) {
  const std::string pickle =
      PickleDict({{"w", PickleTensor(PickleStorage("FloatStorage", "0", 24), 4, {2, 3}, {6, 1})}});
  for (size_t size = 0; size < pickle.size(); ++size) {
    ASSERT_EQ(Interpret(pickle.substr(0, size)).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_THAT(std::string(Interpret(pickle.substr(0, 40)).status().message()),
              HasSubstr("the pickle is cut short"));
}

struct Refusal {
  const char* what;
  std::string pickle;
  std::string message;
};

void ExpectRefused(const std::vector<Refusal>& refusals) {
  for (const Refusal& refusal : refusals) {
    const auto tensors = Interpret(refusal.pickle);
    EXPECT_EQ(tensors.status().code(), absl::StatusCode::kInvalidArgument) << refusal.what;
    EXPECT_THAT(std::string(tensors.status().message()), HasSubstr(refusal.message))
        << refusal.what;
    EXPECT_THAT(std::string(tensors.status().message()), testing::StartsWith("data.pkl"))
        << refusal.what;
    EXPECT_LT(tensors.status().message().size(), 400u) << refusal.what;
  }
}

TEST(PickleMachineTest, RefusesEverythingThatCallsAnythingElse) {
  ExpectRefused({
      {"os.system", Protocol2("cos\nsystem\n(" + PickleString("true") + "tR."),
       "byte 2: global \"os.system\" is not allowed"},
      {"builtins", Protocol2("c__builtin__\neval\n."), "global \"__builtin__.eval\""},
      {"dotted attribute", Protocol2("ctorch\n_utils._rebuild_tensor_v2\n."),
       "global \"torch._utils._rebuild_tensor_v2\" is not allowed"},
      {"parameter", Protocol2("ctorch._utils\n_rebuild_parameter\n."),
       "global \"torch._utils._rebuild_parameter\" is not allowed"},
      {"another storage", Protocol2("ctorch\nIntStorage\n."), "global \"torch.IntStorage\""},
      {"long name", Protocol2("c" + std::string(100'000, 'm') + "\nf\n."), "is not allowed"},
      {"STACK_GLOBAL", Protocol2("\x93."), "opcode STACK_GLOBAL ('\\x93') is not allowed"},
      {"INST", Protocol2("(ios\nsystem\n."), "opcode INST ('i') is not allowed"},
      {"OBJ", Protocol2("(o."), "opcode OBJ"},
      {"NEWOBJ", Protocol2("\x81."), "opcode NEWOBJ"},
      {"EXT1", Protocol2("\x82\x01."), "opcode EXT1"},
      {"PERSID", Protocol2("Pid\n."), "opcode PERSID"},
      {"LIST", Protocol2("]."), "opcode EMPTY_LIST"},
      {"no opcode", Protocol2("\xff."), "opcode unknown ('\\xff')"},
      {"call of a storage type", Protocol2("ctorch\nFloatStorage\n)R."),
       "a call of torch.FloatStorage is not allowed"},
      {"call of a string", Protocol2(PickleString("f") + ")R."), "a call of a string"},
      {"OrderedDict with arguments", Protocol2("ccollections\nOrderedDict\nK\x01\x85R."),
       "a call of collections.OrderedDict with arguments"},
      {"BUILD of a tensor",
       Protocol2(PickleTensor(PickleStorage("FloatStorage", "0", 1), 0, {1}, {1}) + "}b."),
       "a BUILD of anything but a dict's _metadata"},
      {"BUILD with another state", Protocol2("}}" + PickleString("x") + "Nsb."), "a BUILD of"},
      {"after the BUILD", Protocol2("}}" + PickleString("_metadata") + "NsbN."),
       "something follows the BUILD"},
  });
}

TEST(PickleMachineTest, RefusesWhatIsNoDictOfTensors) {
  const std::string storage = PickleStorage("FloatStorage", "0", 1);
  ExpectRefused({
      {"empty", "", "does not start with protocol 2"},
      {"protocol 4", "\x80\x04.", "does not start with protocol 2"},
      {"protocol 0", "(dp0\n.", "does not start with protocol 2"},
      {"nothing", Protocol2("."), "does not hold one dict"},
      {"a number", Protocol2("K\x01."), "does not hold one dict"},
      {"two dicts", Protocol2("}}."), "does not hold one dict"},
      {"an open mark", Protocol2("}(."), "does not hold one dict"},
      {"bytes after it", Protocol2("}.}"), "1 bytes follow the STOP"},
      {"a nested dict", PickleDict({{"model", "}"}}), "\"model\" is a dict, not a tensor"},
      {"a number in it", PickleDict({{"step", "K\x05"}}), "\"step\" is a number, not a tensor"},
      {"a key that is no string", Protocol2("}K\x01K\x02s."), "has a number as a key"},
      {"a name twice",
       PickleDict(
           {{"t", PickleTensor(storage, 0, {1}, {1})}, {"t", PickleTensor(storage, 0, {1}, {1})}}),
       "tensor \"t\" is there twice"},
      {"a name that is not UTF-8", Protocol2("X" + LittleEndian(1, 4) + "\xff."), "not UTF-8"},
      {"a long string",
       Protocol2("X\xff\xff\xff\xff"
                 "abc"),
       "cut short"},
  });
}

TEST(PickleMachineTest, RefusesWrongUseOfTheStack) {
  const std::string storage = PickleStorage("FloatStorage", "0", 1);
  const std::string rebuild = "ctorch._utils\n_rebuild_tensor_v2\n";
  ExpectRefused({
      {"no mark", Protocol2("t."), "there is no mark"},
      {"short stack", Protocol2("N\x86."), "the stack is too short"},
      {"below a mark", Protocol2("NN(\x86."), "the stack is too short"},
      {"SETITEM in a tuple", Protocol2(")NNs."), "items are set in a tuple"},
      {"SETITEMS without a dict", Protocol2("(NNu."), "the stack is too short"},
      {"a key without value", Protocol2("}(Nu."), "a key has no value"},
      {"memo slot ahead", Protocol2("Nq\x07."), "memo slot 7 after 0"},
      {"memo slot empty", Protocol2("h\x07."), "memo slot 7 is empty"},
      {"a number of 9 bytes", Protocol2("\x8a\x09" + std::string(9, '\1') + "."), "too large"},
      {"persistent id is no tuple", Protocol2("NQ."), "persistent id is no 5-tuple"},
      {"persistent id of numbers", Protocol2(PickleTuple({1, 2, 3, 4, 5}) + "Q."),
       "persistent id is not ('storage'"},
      {"storage type is no storage",
       Protocol2("(" + PickleString("storage") + "ccollections\nOrderedDict\n" + PickleString("0") +
                 PickleString("cpu") + "K\x01tQ."),
       "type is no storage"},
      {"storage of -1", Protocol2(PickleStorage("FloatStorage", "0", -1) + "."),
       "storage \"0\" has -1 elements"},
      {"rebuild with no arguments", Protocol2(rebuild + ")R."), "has 0 arguments instead of 6"},
      {"rebuild of nothing", Protocol2(rebuild + "(NNNNNNtR."), "arguments are not (storage,"},
      {"negative size", PickleDict({{"t", PickleTensor(storage, 0, {-1}, {1})}}),
       "arguments are not (storage,"},
      {"negative stride", PickleDict({{"t", PickleTensor(storage, 0, {1}, {-1})}}),
       "arguments are not (storage,"},
      {"negative offset", PickleDict({{"t", PickleTensor(storage, -1, {1}, {1})}}),
       "arguments are not (storage,"},
      {"fewer strides", PickleDict({{"t", PickleTensor(storage, 0, {1, 1}, {1})}}),
       "arguments are not (storage,"},
      {"nine dimensions",
       PickleDict({{"t", PickleTensor(storage, 0, std::vector<int64_t>(9, 1),
                                      std::vector<int64_t>(9, 1))}}),
       "arguments are not (storage,"},
  });
}

TEST(PickleMachineTest, MemoryIsBounded) {
  ExpectRefused({
      {"stack", Protocol2(Repeat("N", 100'000)), "the stack is deeper than 65536"},
      {"marks", Protocol2(Repeat("(", 100'000)), "too many marks"},
      {"nested tuples", Protocol2(")" + Repeat("\x85", 10'000'000)), "too many tuple items"},
      {"dicts", Protocol2("(" + Repeat(Repeat("}", 60'000) + "t(", 20)), "too many dicts"},
  });
}

TEST(PickleMachineTest, AStorageKeyIsShort) {
  const auto with_key = [](size_t bytes) {
    const std::string storage = PickleStorage("FloatStorage", std::string(bytes, 'k'), 1);
    return PickleDict({{"t", PickleTensor(storage, 0, {1}, {1})}});
  };
  EXPECT_TRUE(Interpret(with_key(256)).ok());
  ExpectRefused(
      {{"key", with_key(257),
        "storage key \"" + std::string(120, 'k') + "...\" of 257 bytes is longer than 256"}});
}

TEST(PickleOpcodesTest, AreNamed) {
  EXPECT_STREQ(PickleOpcodeName('c'), "GLOBAL");
  EXPECT_STREQ(PickleOpcodeName(0x80), "PROTO");
  EXPECT_STREQ(PickleOpcodeName(0xfe), "unknown");
}

}  // namespace
}  // namespace mneme::loader
