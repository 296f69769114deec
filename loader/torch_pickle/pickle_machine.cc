// Invariants:
// 1. A Value is a small handle; what it stands for lies in a table of the machine (tuples_, dicts_,
//    storages_, tensors_) or in the pickle itself (strings). Handles are never out of range.
// 2. Nothing is popped from below the topmost mark.
// 3. Every table has a limit, so memory is bounded whatever the pickle says.
#include "loader/torch_pickle/pickle_machine.h"

#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "loader/text/text.h"
#include "loader/torch_pickle/pickle_cursor.h"
#include "loader/torch_pickle/pickle_opcodes.h"
#include "loader/torch_pickle/pickle_value.h"

namespace mneme::loader::pickle {
namespace {

class Machine {
 public:
  explicit Machine(std::span<const uint8_t> pickle) : pickle_(pickle) {}

  absl::StatusOr<std::vector<PickledTensor>> Run() {
    if (pickle_.left() > kMaxPickleBytes) {
      Fail(absl::StrCat("pickle of ", pickle_.left(), " bytes is more than ", kMaxPickleBytes));
    } else if (pickle_.Number(1) != 0x80 || pickle_.Number(1) != 2) {
      Fail("pickle does not start with protocol 2");
    }
    while (status_.ok() && !stopped_) {
      Step();
      if (pickle_.cut_short()) Fail("the pickle is cut short");
    }
    if (!status_.ok()) return status_;
    return Result();
  }

 private:
  // Executes one opcode.
  void Step() {
    opcode_at_ = pickle_.at();
    const uint8_t opcode = static_cast<uint8_t>(pickle_.Number(1));
    if (pickle_.cut_short()) return;
    if (built_ && opcode != '.') return Fail("something follows the BUILD");
    switch (opcode) {
      case '(':
        if (marks_.size() >= kMaxStack) return Fail("too many marks");
        marks_.push_back(stack_.size());
        return;
      case '.':
        return Stop();
      case 'N':
        return Push(Value{});
      case 0x88:
        return Push(Value{Kind::kBool, 0, 1});
      case 0x89:
        return Push(Value{Kind::kBool, 0, 0});
      case 'J':
        return PushInt(pickle_.SignedNumber(4));
      case 'K':
        return PushInt(static_cast<int64_t>(pickle_.Number(1)));
      case 'M':
        return PushInt(static_cast<int64_t>(pickle_.Number(2)));
      case 0x8a:
        return Long();
      case 'X':
        return Unicode();
      case 'c':
        return FindGlobal();
      case ')':
        return MakeTuple(0);
      case 't':
        return MakeTuple(ItemsAboveMark());
      case 0x85:
      case 0x86:
      case 0x87:
        return MakeTuple(opcode - size_t{0x84});
      case '}':
        return MakeDict();
      case 'q':
        return Remember(pickle_.Number(1));
      case 'r':
        return Remember(pickle_.Number(4));
      case 'h':
        return Recall(pickle_.Number(1));
      case 'j':
        return Recall(pickle_.Number(4));
      case 's':
        return SetItems(2);
      case 'u':
        return SetItems(ItemsAboveMark());
      case 'Q':
        return PersistentId();
      case 'R':
        return Call();
      case 'b':
        return Build();
      default: {
        const char byte = static_cast<char>(opcode);
        return Fail(absl::StrCat("opcode ", PickleOpcodeName(opcode), " ('",
                                 absl::CHexEscape(absl::string_view(&byte, 1)),
                                 "') is not allowed"));
      }
    }
  }

  void Fail(const std::string& what) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(absl::StrCat("data.pkl, byte ", opcode_at_, ": ", what));
  }

  void Push(Value value) {
    if (!status_.ok() || pickle_.cut_short()) return;
    if (stack_.size() >= kMaxStack) {
      return Fail(absl::StrCat("the stack is deeper than ", kMaxStack));
    }
    stack_.push_back(value);
  }

  void PushInt(int64_t number) { Push(Value{Kind::kInt, 0, number}); }

  // Number of values that may be popped.
  size_t Available() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }

  bool Need(size_t values) {
    if (status_.ok() && Available() < values) Fail("the stack is too short");
    return status_.ok();
  }

  Value Pop() {
    if (!Need(1)) return Value{};
    const Value value = stack_.back();
    stack_.pop_back();
    return value;
  }

  // Removes the topmost mark and says how many values lay above it.
  size_t ItemsAboveMark() {
    if (marks_.empty()) {
      Fail("there is no mark");
      return 0;
    }
    const size_t items = Available();
    marks_.pop_back();
    return items;
  }

  std::string_view Text(const Value& value) const {
    return pickle_.Text(static_cast<size_t>(value.number), value.index);
  }

  void Long() {
    const uint64_t bytes = pickle_.Number(1);
    if (bytes > 8) return Fail(absl::StrCat("a number of ", bytes, " bytes is too large"));
    PushInt(pickle_.SignedNumber(bytes));
  }

  void Unicode() {
    const uint64_t length = pickle_.Number(4);
    const size_t begin = pickle_.Skip(length);
    if (pickle_.cut_short()) return;
    const Value value{Kind::kString, static_cast<uint32_t>(length), static_cast<int64_t>(begin)};
    if (FirstInvalidUtf8(Text(value)) >= 0) return Fail("a string is not UTF-8");
    Push(value);
  }

  void FindGlobal() {
    const std::string_view module = pickle_.Line();
    const std::string_view attribute = pickle_.Line();
    if (pickle_.cut_short()) return;
    const std::optional<Global> global = LookUpGlobal(module, attribute);
    if (global.has_value()) {
      return Push(Value{Kind::kGlobal, static_cast<uint32_t>(*global), 0});
    }
    const std::string name = absl::StrCat(std::string(module.substr(0, 100)), ".",
                                          std::string(attribute.substr(0, 100)));
    Fail(absl::StrCat("global ", Quote(name), " is not allowed"));
  }

  void MakeTuple(size_t count) {
    if (!status_.ok()) return;
    // Values above a mark that has just been removed are all available.
    if (!Need(count)) return;
    if (tuples_.size() + count > kMaxTupleItems) return Fail("too many tuple items");
    const Value tuple{Kind::kTuple, static_cast<uint32_t>(count),
                      static_cast<int64_t>(tuples_.size())};
    tuples_.insert(tuples_.end(), stack_.end() - static_cast<int64_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    Push(tuple);
  }

  void MakeDict() {
    if (dicts_.size() >= kMaxDicts) return Fail("too many dicts");
    dicts_.emplace_back();
    Push(Value{Kind::kDict, static_cast<uint32_t>(dicts_.size() - 1), 0});
  }

  void Remember(uint64_t slot) {
    if (pickle_.cut_short() || !Need(1)) return;
    // Picklers number their memo from 0 without gaps.
    if (slot > memo_.size() || slot >= kMaxMemo) {
      return Fail(absl::StrCat("memo slot ", slot, " after ", memo_.size()));
    }
    if (slot == memo_.size()) memo_.emplace_back();
    memo_[slot] = stack_.back();
  }

  void Recall(uint64_t slot) {
    if (!status_.ok() || pickle_.cut_short()) return;
    if (slot >= memo_.size()) return Fail(absl::StrCat("memo slot ", slot, " is empty"));
    Push(memo_[slot]);
  }

  // Moves the topmost `count` values, keys and values in turn, into the dict below them.
  void SetItems(size_t count) {
    if (!status_.ok()) return;
    if (count % 2 != 0) return Fail("a key has no value");
    if (!Need(count + 1)) return;
    const Value target = stack_[stack_.size() - count - 1];
    if (target.kind != Kind::kDict) {
      return Fail(absl::StrCat("items are set in ", KindName(target.kind)));
    }
    items_ += count / 2;
    if (items_ > kMaxItems) return Fail("too many dict items");
    Dict& dict = dicts_[target.index];
    for (size_t i = stack_.size() - count; i < stack_.size(); i += 2) {
      dict.items.emplace_back(stack_[i], stack_[i + 1]);
    }
    stack_.resize(stack_.size() - count);
  }

  std::span<const Value> Items(const Value& tuple) const {
    return std::span(tuples_).subspan(static_cast<size_t>(tuple.number), tuple.index);
  }

  // ('storage', type, key, location, element count)
  void PersistentId() {
    const Value id = Pop();
    if (!status_.ok()) return;
    if (id.kind != Kind::kTuple || id.index != 5) return Fail("persistent id is no 5-tuple");
    const std::span<const Value> items = Items(id);
    if (items[0].kind != Kind::kString || Text(items[0]) != "storage" ||
        items[1].kind != Kind::kGlobal || items[2].kind != Kind::kString ||
        items[3].kind != Kind::kString || items[4].kind != Kind::kInt) {
      return Fail("persistent id is not ('storage', type, key, location, element count)");
    }
    const std::optional<StoredDType> dtype = StorageDType(static_cast<Global>(items[1].index));
    if (!dtype.has_value()) return Fail("persistent id's type is no storage");
    const std::string_view key = Text(items[2]);
    if (key.size() > kMaxStorageKeyBytes) {
      return Fail(absl::StrCat("storage key ", Quote(key), " of ", key.size(),
                               " bytes is longer than ", kMaxStorageKeyBytes));
    }
    if (items[4].number < 0) {
      return Fail(absl::StrCat("storage ", Quote(key), " has ", items[4].number, " elements"));
    }
    if (storages_.size() >= static_cast<size_t>(kMaxTensors)) return Fail("too many storages");
    storages_.push_back(Storage{*dtype, key, items[4].number});
    Push(Value{Kind::kStorage, static_cast<uint32_t>(storages_.size() - 1), 0});
  }

  void Call() {
    const Value arguments = Pop();
    const Value callee = Pop();
    if (!status_.ok()) return;
    if (callee.kind != Kind::kGlobal) {
      return Fail(absl::StrCat("a call of ", KindName(callee.kind), " is not allowed"));
    }
    const auto global = static_cast<Global>(callee.index);
    if (arguments.kind != Kind::kTuple) return Fail("a call's arguments are no tuple");
    if (global == Global::kOrderedDict) {
      if (arguments.index != 0) {
        return Fail("a call of collections.OrderedDict with arguments is not allowed");
      }
      return MakeDict();
    }
    if (global == Global::kRebuildTensor) return Rebuild(Items(arguments));
    Fail(absl::StrCat("a call of ", GlobalName(global), " is not allowed"));
  }

  bool Numbers(const Value& tuple, std::vector<int64_t>& out) {
    if (tuple.kind != Kind::kTuple || tuple.index > kMaxPickledDimensions) {
      return false;
    }
    for (const Value& item : Items(tuple)) {
      if (item.kind != Kind::kInt || item.number < 0) return false;
      out.push_back(item.number);
    }
    return true;
  }

  // _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)
  void Rebuild(std::span<const Value> arguments) {
    if (arguments.size() != 6) {
      return Fail(
          absl::StrCat("_rebuild_tensor_v2 has ", arguments.size(), " arguments instead of 6"));
    }
    PickledTensor tensor;
    const Value& hooks = arguments[5];
    if (arguments[0].kind != Kind::kStorage || arguments[1].kind != Kind::kInt ||
        arguments[1].number < 0 || arguments[4].kind != Kind::kBool || hooks.kind != Kind::kDict ||
        !dicts_[hooks.index].items.empty() || !Numbers(arguments[2], tensor.shape) ||
        !Numbers(arguments[3], tensor.strides) || tensor.shape.size() != tensor.strides.size()) {
      return Fail(
          "_rebuild_tensor_v2's arguments are not "
          "(storage, offset, size, stride, requires_grad, no hooks)");
    }
    if (tensors_.size() >= static_cast<size_t>(kMaxTensors)) return Fail("too many tensors");
    const Storage& storage = storages_[arguments[0].index];
    tensor.dtype = storage.dtype;
    tensor.storage = std::string(storage.key);
    tensor.storage_elements = storage.elements;
    tensor.offset = arguments[1].number;
    tensors_.push_back(std::move(tensor));
    Push(Value{Kind::kTensor, static_cast<uint32_t>(tensors_.size() - 1), 0});
  }

  // Gives the state dict its attribute _metadata, which is dropped.
  void Build() {
    const Value state = Pop();
    if (!Need(1)) return;
    const Value target = stack_.back();
    const bool known = target.kind == Kind::kDict && state.kind == Kind::kDict &&
                       dicts_[state.index].items.size() == 1 &&
                       dicts_[state.index].items[0].first.kind == Kind::kString &&
                       Text(dicts_[state.index].items[0].first) == "_metadata";
    if (!known) return Fail("a BUILD of anything but a dict's _metadata is not allowed");
    built_ = true;
  }

  void Stop() {
    if (stack_.size() != 1 || !marks_.empty() || stack_[0].kind != Kind::kDict) {
      return Fail("the pickle does not hold one dict");
    }
    if (pickle_.left() != 0) {
      return Fail(absl::StrCat(pickle_.left(), " bytes follow the STOP"));
    }
    stopped_ = true;
  }

  absl::StatusOr<std::vector<PickledTensor>> Result() {
    std::vector<PickledTensor> result;
    std::set<std::string_view> names;
    const Dict& dict = dicts_[stack_[0].index];
    if (dict.items.size() > static_cast<size_t>(kMaxTensors)) {
      return absl::InvalidArgumentError("data.pkl: too many tensors");
    }
    for (const auto& [key, value] : dict.items) {
      if (key.kind != Kind::kString) {
        return absl::InvalidArgumentError(
            absl::StrCat("data.pkl: the state dict has ", KindName(key.kind), " as a key"));
      }
      if (value.kind != Kind::kTensor) {
        return absl::InvalidArgumentError(absl::StrCat("data.pkl: ", Quote(Text(key)), " is ",
                                                       KindName(value.kind), ", not a tensor"));
      }
      if (!names.insert(Text(key)).second) {
        return absl::InvalidArgumentError(
            absl::StrCat("data.pkl: tensor ", Quote(Text(key)), " is there twice"));
      }
      result.push_back(tensors_[value.index]);
      result.back().name = std::string(Text(key));
    }
    return result;
  }

  Cursor pickle_;
  size_t opcode_at_ = 0;
  bool stopped_ = false;
  bool built_ = false;
  absl::Status status_;
  std::vector<Value> stack_;
  std::vector<size_t> marks_;
  std::vector<Value> memo_;
  std::vector<Value> tuples_;
  std::vector<Dict> dicts_;
  size_t items_ = 0;
  std::vector<Storage> storages_;
  std::vector<PickledTensor> tensors_;
};

}  // namespace
}  // namespace mneme::loader::pickle

namespace mneme::loader {

absl::StatusOr<std::vector<PickledTensor>> RunPickle(std::span<const uint8_t> bytes) {
  return pickle::Machine(bytes).Run();
}

}  // namespace mneme::loader
