#include "engine/runtime/step_message.h"

#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace mneme::runtime {
namespace {

constexpr int32_t kMagic = 0x31534e4d;  // "MNS1"

struct Header {
  int32_t magic;
  uint32_t number_low;
  uint32_t number_high;
  int32_t tokens;
  int32_t spans;
  int32_t logit_rows;
  int32_t block_changes;
};

// A span without what follows from the spans before it.
struct WireSpan {
  int32_t sequence;
  int32_t first_position;
  int32_t rows;
};

size_t Bytes(int64_t tokens, int64_t spans, int64_t logit_rows, int64_t block_changes) {
  return sizeof(Header) + static_cast<size_t>(tokens + logit_rows) * sizeof(int32_t) +
         static_cast<size_t>(spans) * sizeof(WireSpan) +
         static_cast<size_t>(block_changes) * sizeof(BlockChange);
}

// Values are copied in and out, for a message may lie at any address.
class Writer {
 public:
  explicit Writer(std::span<uint8_t> to) : next_(to.data()) {}

  template <class T>
  void Put(const T& value) {
    std::memcpy(next_, &value, sizeof(T));
    next_ += sizeof(T);
  }

 private:
  uint8_t* next_;
};

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> from) : next_(from.data()) {}

  template <class T>
  T Get() {
    T value;
    std::memcpy(&value, next_, sizeof(T));
    next_ += sizeof(T);
    return value;
  }
  const uint8_t* Skip(size_t bytes) {
    const uint8_t* here = next_;
    next_ += bytes;
    return here;
  }

 private:
  const uint8_t* next_;
};

template <class... Parts>
absl::Status Refused(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat("step message: ", parts...));
}

bool Within(int32_t value, int32_t end) { return value >= 0 && value < end; }

// The counts fit the limits, and the message is as long as they say.
absl::Status CheckHeader(const Header& h, const StepLimits& limits, size_t size) {
  if (h.magic != kMagic) return Refused("begins with ", h.magic, ", not with ", kMagic);
  const struct {
    const char* name;
    int32_t value;
    int32_t most;
  } counts[] = {{"tokens", h.tokens, limits.max_tokens},
                {"spans", h.spans, limits.max_sequences},
                {"logit rows", h.logit_rows, limits.max_logit_rows},
                {"block changes", h.block_changes, limits.max_block_changes()}};
  for (const auto& count : counts) {
    if (count.value < 0 || count.value > count.most) {
      return Refused(count.value, " ", count.name, ", the plan takes ", count.most);
    }
  }
  const size_t needed = Bytes(h.tokens, h.spans, h.logit_rows, h.block_changes);
  if (size != needed) return Refused("has ", size, " bytes, its counts need ", needed);
  return absl::OkStatus();
}

absl::Status ReadSpans(const Header& h, const StepLimits& limits, int32_t embedding_size,
                       const uint8_t* ids, Reader* reader, Step* step) {
  int32_t row = 0;
  for (int32_t i = 0; i < h.spans; ++i) {
    const WireSpan span = reader->Get<WireSpan>();
    if (!Within(span.sequence, limits.max_sequences)) {
      return Refused("span ", i, " is of sequence ", span.sequence, " of ", limits.max_sequences);
    }
    if (span.rows < 1 || span.rows > h.tokens - row) {
      return Refused("span ", i, " has ", span.rows, " rows, ", h.tokens - row, " tokens are left");
    }
    if (span.first_position < 0 || span.first_position > limits.max_positions - span.rows) {
      return Refused("span ", i, " has ", span.rows, " rows from position ", span.first_position,
                     " on, a sequence has ", limits.max_positions);
    }
    for (int32_t r = 0; r < span.rows; ++r, ++row) {
      int32_t id;
      std::memcpy(&id, ids + static_cast<size_t>(row) * sizeof id, sizeof id);
      if (!Within(id, embedding_size)) {
        return Refused("token id ", id, " of row ", row, " is not in [0, ", embedding_size, ")");
      }
      if (r == 0) {
        step->AddSpan(span.sequence, span.first_position, {&id, 1});
      } else {
        step->ExtendSpan(id);
      }
    }
  }
  if (row != h.tokens) return Refused("spans cover ", row, " of ", h.tokens, " tokens");
  return absl::OkStatus();
}

absl::Status ReadLogitRows(const Header& h, Reader* reader, Step* step) {
  int32_t previous = -1;
  for (int32_t i = 0; i < h.logit_rows; ++i) {
    const int32_t row = reader->Get<int32_t>();
    if (row <= previous || row >= h.tokens) {
      return Refused("logit row ", row, " after ", previous, " in a step of ", h.tokens);
    }
    step->AddLogitRow(row);
    previous = row;
  }
  return absl::OkStatus();
}

absl::Status ReadBlockChanges(const Header& h, const StepLimits& limits, Reader* reader,
                              Step* step) {
  for (int32_t i = 0; i < h.block_changes; ++i) {
    const BlockChange change = reader->Get<BlockChange>();
    if (!Within(change.sequence, limits.max_sequences) ||
        !Within(change.index, limits.max_blocks_per_sequence()) ||
        !Within(change.block, limits.kv_blocks)) {
      return Refused("block change (sequence ", change.sequence, ", index ", change.index,
                     ", block ", change.block, ") is outside (", limits.max_sequences, ", ",
                     limits.max_blocks_per_sequence(), ", ", limits.kv_blocks, ")");
    }
    step->AddBlockChange(change.sequence, change.index, change.block);
  }
  return absl::OkStatus();
}

}  // namespace

size_t StepMessageBytes(const Step& step) {
  return Bytes(step.tokens(), static_cast<int64_t>(step.spans().size()),
               static_cast<int64_t>(step.logit_rows().size()),
               static_cast<int64_t>(step.block_changes().size()));
}

size_t MaxStepMessageBytes(const StepLimits& limits) {
  return Bytes(limits.max_tokens, limits.max_sequences, limits.max_logit_rows,
               limits.max_block_changes());
}

void WriteStepMessage(const Step& step, std::span<uint8_t> to) {
  if (to.size() != StepMessageBytes(step)) std::abort();
  Writer writer(to);
  writer.Put(Header{.magic = kMagic,
                    .number_low = static_cast<uint32_t>(step.number),
                    .number_high = static_cast<uint32_t>(step.number >> 32),
                    .tokens = step.tokens(),
                    .spans = static_cast<int32_t>(step.spans().size()),
                    .logit_rows = static_cast<int32_t>(step.logit_rows().size()),
                    .block_changes = static_cast<int32_t>(step.block_changes().size())});
  for (const int32_t id : step.token_ids()) writer.Put(id);
  for (const StepSpan& span : step.spans()) {
    writer.Put(WireSpan{span.sequence, span.first_position, span.rows});
  }
  for (const int32_t row : step.logit_rows()) writer.Put(row);
  for (const BlockChange& change : step.block_changes()) writer.Put(change);
}

absl::Status ReadStepMessage(std::span<const uint8_t> message, const StepLimits& limits,
                             int32_t embedding_size, Step* step) {
  step->Clear();
  if (message.size() < sizeof(Header)) {
    return Refused("has ", message.size(), " bytes, its header needs ", sizeof(Header));
  }
  Reader reader(message);
  const Header h = reader.Get<Header>();
  absl::Status status = CheckHeader(h, limits, message.size());
  if (!status.ok()) return status;
  const uint8_t* ids = reader.Skip(static_cast<size_t>(h.tokens) * sizeof(int32_t));
  status = ReadSpans(h, limits, embedding_size, ids, &reader, step);
  if (status.ok()) status = ReadLogitRows(h, &reader, step);
  if (status.ok()) status = ReadBlockChanges(h, limits, &reader, step);
  if (!status.ok()) {
    step->Clear();
    return status;
  }
  step->number = h.number_low | static_cast<uint64_t>(h.number_high) << 32;
  return absl::OkStatus();
}

}  // namespace mneme::runtime
