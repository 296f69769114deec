#include "loader/tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "loader/files/mapped_file.h"
#include "loader/json/json_document.h"
#include "loader/json/json_field.h"
#include "loader/text/text.h"
#include "loader/tokenizer/added_tokens.h"
#include "loader/tokenizer/bpe.h"
#include "loader/tokenizer/decoder.h"
#include "loader/tokenizer/message.h"
#include "loader/tokenizer/normalizer.h"
#include "loader/tokenizer/post_processor.h"
#include "loader/tokenizer/pre_tokenizer.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader {

namespace internal = tokenizer_internal;
using internal::Message;
using internal::MessageOf;

namespace {

// The largest published tokenizer.json files have about 35 MB.
constexpr int64_t kMaxFileBytes = int64_t{64} << 20;

absl::Status CheckTopLevel(const JsonField& file) {
  if (absl::Status s =
          file.OnlyMembers({"version", "truncation", "padding", "added_tokens", "normalizer",
                            "pre_tokenizer", "post_processor", "decoder", "model"});
      !s.ok()) {
    return s;
  }
  const JsonField version = file.Member("version");
  if (version.value().exists()) {
    const absl::StatusOr<std::string_view> name = version.String();
    if (!name.ok()) return name.status();
    if (*name != "1.0") return version.Unsupported(Message("version ", Quote(*name)), "1.0");
  }
  for (const char* name : {"truncation", "padding"}) {
    const JsonField field = file.Member(name);
    if (!field.IsNull()) {
      return field.Unsupported(field.Text(), "null (every request has its own limits)");
    }
  }
  return absl::OkStatus();
}

}  // namespace

struct Tokenizer::Parts {
  internal::Bpe bpe;
  internal::Normalizer normalizer;
  internal::PreTokenizer pre_tokenizer;
  internal::PostProcessor post_processor;
  internal::AddedTokens added;
  internal::Decoder decoder;
  int32_t vocab_size = 0;

  // What one Encode works with.
  struct Work {
    Work(size_t text_bytes, int64_t most)
        : budget(internal::SearchBudget::LimitFor(text_bytes)), most_ids(most) {}
    absl::Status CheckIds() const {
      if (static_cast<int64_t>(ids.size()) <= most_ids) return absl::OkStatus();
      return absl::ResourceExhaustedError(
          internal::Message("more than ", most_ids, " tokens, which is the limit"));
    }

    internal::SearchBudget budget;
    const int64_t most_ids;
    internal::Bpe::Scratch bpe;
    internal::Pieces pieces;
    std::string normalized;
    std::vector<internal::Section> sections;
    std::vector<int32_t> ids;
  };

  static absl::StatusOr<std::unique_ptr<Parts>> Build(const JsonField& file);
  // Appends the ids of a section between raw added tokens. at_start: it begins where the text does.
  absl::Status EncodeSection(std::string_view section, bool at_start, Work* work) const;

  bool IsKnown(int32_t id) const { return (Flags(id) & kKnown) != 0; }
  bool IsSkipped(int32_t id, bool skip_special) const {
    return !IsKnown(id) || (skip_special && (flags[id] & kSpecial));
  }
  // The content of an id, added tokens first; "" if there is no such id.
  std::string_view Content(int32_t id) const {
    const internal::AddedToken* token = added.Find(id);
    return token != nullptr ? token->content : bpe.vocabulary().Token(id);
  }

  static constexpr uint8_t kKnown = 1, kSpecial = 2;
  uint8_t Flags(int32_t id) const { return id >= 0 && id < vocab_size ? flags[id] : 0; }
  std::vector<uint8_t> flags;  // of each id
};

absl::StatusOr<std::unique_ptr<Tokenizer::Parts>> Tokenizer::Parts::Build(const JsonField& file) {
  if (absl::Status s = CheckTopLevel(file); !s.ok()) return s;
  auto parts = std::make_unique<Parts>();
  absl::StatusOr<internal::Bpe> bpe = internal::Bpe::Build(file.Member("model"));
  if (!bpe.ok()) return bpe.status();
  parts->bpe = *std::move(bpe);
  absl::StatusOr<internal::Normalizer> normalizer =
      internal::Normalizer::Build(file.Member("normalizer"));
  if (!normalizer.ok()) return normalizer.status();
  parts->normalizer = *std::move(normalizer);
  absl::StatusOr<internal::PreTokenizer> pre_tokenizer =
      internal::PreTokenizer::Build(file.Member("pre_tokenizer"));
  if (!pre_tokenizer.ok()) return pre_tokenizer.status();
  parts->pre_tokenizer = *std::move(pre_tokenizer);
  absl::StatusOr<internal::PostProcessor> post_processor =
      internal::PostProcessor::Build(file.Member("post_processor"));
  if (!post_processor.ok()) return post_processor.status();
  parts->post_processor = *std::move(post_processor);
  absl::StatusOr<internal::Decoder> decoder = internal::Decoder::Build(file.Member("decoder"));
  if (!decoder.ok()) return decoder.status();
  parts->decoder = *std::move(decoder);
  // One for all tokens: a budget for each would be no limit.
  internal::SearchBudget budget;
  absl::StatusOr<internal::AddedTokens> added = internal::AddedTokens::Build(
      file.Member("added_tokens"), parts->bpe.vocabulary(), parts->normalizer, &budget);
  if (!added.ok()) return added.status();
  parts->added = *std::move(added);

  parts->vocab_size = std::max(parts->bpe.vocabulary().end_id(), parts->added.end_id());
  parts->flags.assign(parts->vocab_size, 0);
  for (int32_t id = 0; id < parts->vocab_size; ++id) {
    if (parts->bpe.vocabulary().Contains(id)) parts->flags[id] = kKnown;
  }
  for (const internal::AddedToken& token : parts->added.tokens()) {
    parts->flags[token.id] = token.special ? kKnown | kSpecial : kKnown;
  }
  const auto content = [&](int32_t id) -> std::optional<std::string_view> {
    if (!parts->IsKnown(id)) return std::nullopt;
    return parts->Content(id);
  };
  absl::Status indexed = parts->decoder.Index(parts->vocab_size, content, &budget);
  if (!indexed.ok()) return file.Member("decoder").Error(MessageOf(indexed));
  return parts;
}

absl::Status Tokenizer::Parts::EncodeSection(std::string_view section, bool at_start,
                                             Work* work) const {
  size_t leading = at_start && !section.empty() ? internal::DecodeUtf8(section).size : 0;
  if (!normalizer.IsIdentity()) {
    work->normalized.assign(section);
    work->budget.Start();
    if (absl::Status s =
            normalizer.Normalize(&work->budget, &work->normalized, at_start ? &leading : nullptr);
        !s.ok()) {
      return s;
    }
    work->budget.Stop();
    section = work->normalized;
  }
  work->sections.clear();
  if (absl::Status s = added.Split(section, /*normalized=*/true, &work->sections); !s.ok()) {
    return s;
  }
  for (const internal::Section& part : work->sections) {
    if (absl::Status s = work->CheckIds(); !s.ok()) return s;
    if (part.token != nullptr) {
      work->ids.push_back(part.token->id);
      continue;
    }
    const size_t before = static_cast<size_t>(part.text.data() - section.data());
    const size_t first = leading > before ? std::min(leading - before, part.text.size()) : 0;
    work->budget.Start();
    if (absl::Status s = pre_tokenizer.Run(part.text, first, &work->budget, &work->pieces);
        !s.ok()) {
      return s;
    }
    work->budget.Stop();
    for (const internal::Span& span : work->pieces.spans) {
      if (absl::Status s = bpe.Encode(work->pieces.Piece(span), &work->bpe, &work->ids); !s.ok()) {
        return s;
      }
      if (absl::Status s = work->CheckIds(); !s.ok()) return s;
    }
  }
  return absl::OkStatus();
}

Tokenizer::Tokenizer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& directory) {
  const std::string path = Message(directory, "/tokenizer.json");
  if (!FileExists(path)) {
    const std::string model = Message(directory, "/tokenizer.model");
    if (!FileExists(model)) return absl::NotFoundError(Message(path, ": no such file"));
    return absl::InvalidArgumentError(Message(
        model, ": SentencePiece models are not supported; make a tokenizer.json beside it: ",
        "python3 -c \"from transformers import AutoTokenizer as T; T.from_pretrained('", directory,
        "').save_pretrained('", directory, "')\""));
  }
  const absl::StatusOr<std::string> json = ReadSmallFile(path, kMaxFileBytes);
  if (!json.ok()) return json.status();
  return Parse(*json, path);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Parse(std::string_view json,
                                                            const std::string& origin) {
  const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(json, origin);
  if (!document.ok()) return document.status();
  absl::StatusOr<std::unique_ptr<Parts>> parts = Parts::Build(JsonField(document->root(), &origin));
  if (!parts.ok()) return parts.status();
  return std::unique_ptr<Tokenizer>(new Tokenizer(*std::move(parts)));
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text, bool add_special,
                                                       int64_t most_ids) const {
  if (static_cast<int64_t>(text.size()) > kMaxEncodeBytes) {
    return absl::InvalidArgumentError(
        Message("a text of ", text.size(), " bytes; at most ", kMaxEncodeBytes, " are tokenized"));
  }
  if (const int64_t invalid = FirstInvalidUtf8(text); invalid >= 0) {
    return absl::InvalidArgumentError(
        Message("the text is not UTF-8 at byte ", invalid, " of ", text.size()));
  }
  Parts::Work work(text.size(), most_ids);
  if (add_special) work.ids = parts_->post_processor.before();
  std::vector<internal::Section> sections;
  if (absl::Status s = parts_->added.Split(text, /*normalized=*/false, &sections); !s.ok()) {
    return s;
  }
  for (const internal::Section& section : sections) {
    if (absl::Status s = work.CheckIds(); !s.ok()) return s;
    if (section.token != nullptr) {
      work.ids.push_back(section.token->id);
      continue;
    }
    const bool at_start = section.text.data() == text.data();
    if (absl::Status s = parts_->EncodeSection(section.text, at_start, &work); !s.ok()) return s;
  }
  if (add_special) {
    const std::vector<int32_t>& behind = parts_->post_processor.behind();
    work.ids.insert(work.ids.end(), behind.begin(), behind.end());
  }
  if (absl::Status s = work.CheckIds(); !s.ok()) return s;
  return std::move(work.ids);
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special) const {
  std::vector<int32_t> kept;
  kept.reserve(ids.size());
  for (const int32_t id : ids) {
    if (!parts_->IsSkipped(id, skip_special)) kept.push_back(id);
  }
  return parts_->decoder.Decode(kept);
}

int32_t Tokenizer::vocab_size() const { return parts_->vocab_size; }

std::optional<int32_t> Tokenizer::TokenToId(std::string_view token) const {
  if (const internal::AddedToken* added = parts_->added.Find(token); added != nullptr) {
    return added->id;
  }
  return parts_->bpe.vocabulary().Find(token);
}

std::string_view Tokenizer::IdToToken(int32_t id) const {
  return parts_->IsKnown(id) ? parts_->Content(id) : std::string_view();
}

bool Tokenizer::IsSpecial(int32_t id) const { return (parts_->Flags(id) & Parts::kSpecial) != 0; }

StreamDecoder::StreamDecoder(const Tokenizer* tokenizer, bool skip_special)
    : tokenizer_(tokenizer), skip_special_(skip_special) {}

void StreamDecoder::Reset(std::span<const int32_t> context) {
  state_ = DecoderState();
  std::string sent;
  for (const int32_t id : context) {
    sent.clear();
    Append(id, &sent);
  }
}

void StreamDecoder::Append(int32_t id, std::string* out) {
  const Tokenizer::Parts& parts = *tokenizer_->parts_;
  if (!parts.IsSkipped(id, skip_special_)) parts.decoder.Append(id, &state_, out);
}

void StreamDecoder::Flush(std::string* out) { tokenizer_->parts_->decoder.Flush(&state_, out); }

}  // namespace mneme::loader
