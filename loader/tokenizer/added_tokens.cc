#include "loader/tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "loader/text/text.h"
#include "loader/tokenizer/message.h"
#include "loader/tokenizer/unicode_data.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

namespace {

// Of one content, as it stands in the file and as it is searched for.
constexpr size_t kMaxContentBytes = 4096;
// Of all contents as they are searched for. A Replace can make 4096 bytes of one, and each byte may
// need a node of the search, 13 bytes. A whole vocabulary of 250,000 tokens would fit.
constexpr size_t kMaxContentsBytes = size_t{4} << 20;

size_t StartOfTrailingSpace(std::string_view text) {
  while (!text.empty()) {
    const Utf8Char c = DecodeLastUtf8(text);
    if (!IsWhiteSpace(c.code_point)) break;
    text.remove_suffix(c.size);
  }
  return text.size();
}

size_t SizeOfLeadingSpace(std::string_view text) {
  size_t size = 0;
  while (size < text.size()) {
    const Utf8Char c = DecodeUtf8(text.substr(size));
    if (!IsWhiteSpace(c.code_point)) break;
    size += c.size;
  }
  return size;
}

bool IsSingleWord(std::string_view text, size_t begin, size_t end) {
  const bool word_before =
      begin > 0 && IsWordCharacter(DecodeLastUtf8(text.substr(0, begin)).code_point);
  const bool word_behind =
      end < text.size() && IsWordCharacter(DecodeUtf8(text.substr(end)).code_point);
  return !word_before && !word_behind;
}

}  // namespace

struct AddedTokens::Numbering {
  int32_t next_id;               // of a token that the vocabulary lacks
  std::vector<int64_t> in_file;  // what the file says, of each of tokens_
};

absl::StatusOr<AddedTokens> AddedTokens::Build(const JsonField& field, const Vocabulary& vocabulary,
                                               const Normalizer& normalizer, SearchBudget* budget) {
  AddedTokens added;
  if (!field.value().exists()) return added;
  Numbering numbering = {vocabulary.size(), {}};
  absl::Status status = field.ForEach(
      [&](const JsonField& token) { return added.Add(token, vocabulary, &numbering); });
  if (!status.ok()) return status;
  size_t contents_bytes = 0;
  std::vector<TokenSearch::Content> contents[2];
  for (size_t i = 0; i < added.tokens_.size(); ++i) {
    const AddedToken& token = added.tokens_[i];
    std::string content = token.content;
    if (token.normalized) {
      // A pattern's search looks at the budget itself, but the other steps do not.
      status = budget->IsSpent() ? absl::ResourceExhaustedError("the time for searches is spent")
                                 : normalizer.Normalize(budget, &content);
      if (status.ok() && content.empty()) {
        status = absl::InvalidArgumentError("nothing is left of it, which is not supported");
      } else if (status.ok() && content.size() > kMaxContentBytes) {
        status = absl::InvalidArgumentError(
            Message("it is ", content.size(), " bytes; supported: 1 to ", kMaxContentBytes));
      }
      if (!status.ok()) {
        return field.Error(
            Message("the normalised content of ", Quote(token.content), ": ", MessageOf(status)));
      }
    }
    contents_bytes += content.size();
    if (contents_bytes > kMaxContentsBytes) {
      return field.Error(Message("the contents up to ", Quote(token.content), ", normalised, have ",
                                 contents_bytes, " bytes; at most ", kMaxContentsBytes,
                                 " are supported for all"));
    }
    contents[token.normalized].push_back({std::move(content), static_cast<int32_t>(i)});
    added.end_id_ = std::max(added.end_id_, token.id + 1);
  }
  for (const bool normalized : {false, true}) {
    added.searches_[normalized] = TokenSearch::Build(std::move(contents[normalized]));
  }
  return added;
}

absl::Status AddedTokens::Add(const JsonField& field, const Vocabulary& vocabulary,
                              Numbering* numbering) {
  if (absl::Status s = field.OnlyMembers(
          {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
      !s.ok()) {
    return s;
  }
  AddedToken token;
  const absl::StatusOr<int64_t> file_id = field.Member("id").Integer(kMaxTokenId);
  if (!file_id.ok()) return file_id.status();
  const absl::StatusOr<std::string_view> content = field.Member("content").String();
  if (!content.ok()) return content.status();
  if (content->size() > kMaxContentBytes) {
    return field.Member("content").Error(
        Message(content->size(), " bytes; at most ", kMaxContentBytes, " are supported"));
  }
  token.content = *content;
  for (const auto& [name, flag] :
       {std::pair{"single_word", &token.single_word}, std::pair{"lstrip", &token.lstrip},
        std::pair{"rstrip", &token.rstrip}, std::pair{"normalized", &token.normalized},
        std::pair{"special", &token.special}}) {
    const absl::StatusOr<bool> value = field.Member(name).Bool();
    if (!value.ok()) return value.status();
    *flag = *value;
  }
  if (token.content.empty()) return absl::OkStatus();  // the library leaves it out, too

  if (const auto found = by_content_.find(token.content); found != by_content_.end()) {
    // Named twice: the later flags count, but once special, it stays special.
    AddedToken& earlier = tokens_[found->second];
    token.id = earlier.id;
    token.special |= earlier.special;
    earlier = std::move(token);
    return absl::OkStatus();
  }
  if (const std::optional<int32_t> id = vocabulary.Find(token.content); id.has_value()) {
    token.id = *id;
  } else if (numbering->next_id > kMaxTokenId) {
    return field.Error(Message("more than ", kMaxTokenId + 1, " tokens"));
  } else {
    token.id = numbering->next_id++;
  }
  const int32_t index = static_cast<int32_t>(tokens_.size());
  by_content_.emplace(token.content, index);
  numbering->in_file.push_back(*file_id);
  // The vocabulary's ids may have holes: then an added one can meet one of its tokens' and hides
  // that, but two added tokens of one id cannot be told apart: the library no longer finds the
  // earlier.
  if (const auto [other, is_new] = by_id_.emplace(token.id, index); !is_new) {
    std::string follows = token.content, has = tokens_[other->second].content;
    int64_t in_file = *file_id;
    if (!vocabulary.Find(has).has_value()) {
      std::swap(follows, has);
      in_file = numbering->in_file[static_cast<size_t>(other->second)];
    }
    const std::string unused =
        in_file == token.id ? "" : Message("; the file's own ", in_file, " is not used");
    return field.Error(Message(Quote(follows), " is not in the vocabulary and would follow it as ",
                               "id ", token.id, ", which ", Quote(has), " has", unused));
  }
  tokens_.push_back(std::move(token));
  return absl::OkStatus();
}

absl::Status AddedTokens::Split(std::string_view text, bool normalized,
                                std::vector<Section>* sections) const {
  size_t done = 0;  // where the last token ended, with the white space that it took
  size_t space_begin = 1, space_end = 0;
  TokenSearch::Scan scan(&searches_[normalized], text);
  // The search goes on behind the bare match, whatever the flags make of it.
  for (TokenSearch::Match match; scan.Next(&match);) {
    size_t begin = match.begin, end = match.begin + match.size;
    const AddedToken& token = tokens_[match.value];
    if (token.single_word && !IsSingleWord(text, begin, end)) continue;
    if (token.lstrip) {
      begin = done < begin ? done + StartOfTrailingSpace(text.substr(done, begin - done)) : done;
    }
    if (token.rstrip) {
      // Remembered, so that a token of white space stays linear in a long run of it.
      if (end < space_begin || end > space_end) {
        space_begin = end;
        space_end = end + SizeOfLeadingSpace(text.substr(end));
      }
      end = space_end;
    }
    if (end < begin) {
      return absl::InvalidArgumentError(Message(
          "the text has no ids: the added token ", Quote(token.content), " with lstrip lies in the",
          " white space that ", Quote(sections->back().token->content), " with rstrip took"));
    }
    if (end == begin) continue;
    // A token may begin inside white space that the one before it took: then nothing is between.
    if (done < begin) sections->push_back({nullptr, text.substr(done, begin - done)});
    sections->push_back({&token, std::string_view()});
    done = end;
  }
  if (done < text.size()) sections->push_back({nullptr, text.substr(done)});
  return absl::OkStatus();
}

const AddedToken* AddedTokens::Find(std::string_view content) const {
  const auto found = by_content_.find(std::string(content));
  return found == by_content_.end() ? nullptr : &tokens_[found->second];
}

const AddedToken* AddedTokens::Find(int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

}  // namespace mneme::loader::tokenizer_internal
