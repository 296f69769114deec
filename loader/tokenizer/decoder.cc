#include "loader/tokenizer/decoder.h"

#include <algorithm>
#include <utility>

#include "loader/text/text.h"
#include "loader/tokenizer/byte_level.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

namespace {

// The byte of a token "<0x..>", or -1. The library reads the two digits as Rust's from_str_radix
// does, which also takes a plus sign and one digit.
int ByteOfToken(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return -1;
  int value = 0;
  for (size_t i = token[3] == '+' ? 4 : 3; i < 5; ++i) {
    const char c = token[i];
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

void ForgetRun(DecoderState* state) {
  state->run_stripped = state->run_held = state->run_replacements = 0;
}

bool IsValidUtf8(std::string_view text) { return FirstInvalidUtf8(text) < 0; }

}  // namespace

std::string_view Decoder::TextOf(int32_t id, DecoderState* state, std::string* out) const {
  const bool first = std::exchange(state->at_first_token, false);
  if (joins_with_space_ && !first) Emit(" ", state, out);
  return first && first_differs_ ? first_texts_[id] : texts_[id];
}

void Decoder::Append(int32_t id, DecoderState* state, std::string* out) const {
  const std::string_view text = TextOf(id, state, out);
  switch (bytes_) {
    case Bytes::kNone:
      Emit(text, state, out);
      break;
    case Bytes::kByteLevel:
      AppendBytes(text, state, out);
      break;
    case Bytes::kByteFallback:
      if (const int byte = ByteOfToken(text); byte >= 0) {
        AppendRunByte(static_cast<uint8_t>(byte), state, out);
      } else {
        EndRun(state, out);
        Emit(text, state, out);
      }
      break;
  }
}

void Decoder::Flush(DecoderState* state, std::string* out) const {
  if (bytes_ == Bytes::kByteFallback) {
    EndRun(state, out);
  } else if (state->pending_size > 0) {
    state->pending_size = 0;
    EmitBad(1, state, out);
  }
  state->held_at_end = 0;  // what is still held is what Strip takes off the end
}

std::string Decoder::Decode(std::span<const int32_t> ids) const {
  std::string out;
  DecoderState state;
  if (bytes_ != Bytes::kByteFallback) {
    for (const int32_t id : ids) Append(id, &state, &out);
    Flush(&state, &out);
    return out;
  }
  std::string run;
  for (const int32_t id : ids) {
    const std::string_view text = TextOf(id, &state, &out);
    if (const int byte = ByteOfToken(text); byte >= 0) {
      run.push_back(static_cast<char>(byte));
      continue;
    }
    EmitRun(run, &state, &out);
    run.clear();
    Emit(text, &state, &out);
  }
  EmitRun(run, &state, &out);
  return out;
}

void Decoder::EmitRun(std::string_view run, DecoderState* state, std::string* out) const {
  if (IsValidUtf8(run)) {
    Emit(run, state, out);
  } else {
    EmitBad(static_cast<int64_t>(run.size()), state, out);
  }
}

void Decoder::EmitBad(int64_t count, DecoderState* state, std::string* out) const {
  for (int64_t i = 0; i < count; ++i) Emit(kReplacementCharacter, state, out);
}

// One U+FFFD per maximal part that no character begins with: pending is such a part until a byte
// does not continue it; that byte then starts anew.
void Decoder::AppendBytes(std::string_view bytes, DecoderState* state, std::string* out) const {
  if (state->pending_size == 0 && IsValidUtf8(bytes)) {
    Emit(bytes, state, out);
    return;
  }
  for (size_t i = 0; i < bytes.size();) {
    uint8_t* pending = state->pending;
    pending[state->pending_size] = static_cast<uint8_t>(bytes[i]);
    switch (ClassifyUtf8(pending, state->pending_size + 1)) {
      case Utf8Prefix::kIncomplete:
        ++state->pending_size;
        ++i;
        break;
      case Utf8Prefix::kComplete:
        Emit(std::string_view(reinterpret_cast<char*>(pending), state->pending_size + 1), state,
             out);
        state->pending_size = 0;
        ++i;
        break;
      case Utf8Prefix::kInvalid:
        EmitBad(1, state, out);
        if (state->pending_size == 0) ++i;
        state->pending_size = 0;
        break;
    }
  }
}

void Decoder::AppendRunByte(uint8_t byte, DecoderState* state, std::string* out) const {
  if (state->run_is_bad) {
    EmitBad(1, state, out);
    return;
  }
  state->pending[state->pending_size++] = byte;
  switch (ClassifyUtf8(state->pending, state->pending_size)) {
    case Utf8Prefix::kIncomplete:
      break;
    case Utf8Prefix::kComplete:
      EmitOfRun(std::string_view(reinterpret_cast<char*>(state->pending), state->pending_size),
                state, out);
      state->pending_size = 0;
      break;
    case Utf8Prefix::kInvalid:
      SpoilRun(state, out);
      break;
  }
}

// Emits a character of a run and counts it if it was not sent.
void Decoder::EmitOfRun(std::string_view character, DecoderState* state, std::string* out) const {
  if (character == kReplacementCharacter) ++state->run_replacements;
  const int32_t stripped = state->stripped_at_start, held = state->held_at_end;
  const size_t size = out->size();
  Emit(character, state, out);
  if (state->held_at_end > held) {
    ++state->run_held;
  } else if (out->size() == size && state->stripped_at_start > stripped) {
    ++state->run_stripped;
  } else if (state->held_at_end == held && held > 0) {
    // The oldest one held was sent, which may have been before the run.
    state->run_held = std::min(state->run_held + 1, held);
  } else {
    state->run_held = 0;
  }
}

// The run at hand is ill-formed: all of it that was not sent is U+FFFD.
void Decoder::SpoilRun(DecoderState* state, std::string* out) const {
  state->run_is_bad = true;
  const int64_t unsent =
      int64_t{Utf8Size(strip_character_)} * (state->run_stripped + state->run_held) +
      2 * int64_t{state->run_replacements} + state->pending_size;
  state->held_at_end -= state->run_held;
  state->pending_size = 0;
  ForgetRun(state);
  EmitBad(unsent, state, out);
}

void Decoder::EndRun(DecoderState* state, std::string* out) const {
  if (state->pending_size > 0) SpoilRun(state, out);
  state->run_is_bad = false;
  ForgetRun(state);
}

void Decoder::Emit(std::string_view text, DecoderState* state, std::string* out) const {
  if (!strips_text_) {
    out->append(text);
    return;
  }
  while (!text.empty()) {
    const Utf8Char c = DecodeUtf8(text);
    const std::string_view character = text.substr(0, c.size);
    text.remove_prefix(c.size);
    if (c.code_point == strip_character_) {
      if (state->stripped_at_start < strip_start_) {
        ++state->stripped_at_start;
        continue;
      }
      if (state->held_at_end < strip_stop_) {
        ++state->held_at_end;
        continue;
      }
      out->append(character);  // the oldest of those held; the new one is held in its place
      continue;
    }
    state->stripped_at_start = INT32_MAX;
    for (; state->held_at_end > 0; --state->held_at_end) AppendUtf8(strip_character_, out);
    out->append(character);
    if (strip_stop_ == 0) {
      out->append(text);
      return;
    }
  }
}

}  // namespace mneme::loader::tokenizer_internal
