#include <holdfast/opencode/ledger/transcript.hpp>

#include <holdfast/opencode/wire.hpp>

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

namespace holdfast::opencode::ledger {

using user_kind = message_record::user_kind;

bool part_record::may_miss_text() const noexcept {
    const bool speaks = what == kind::text || what == kind::reasoning ||
                        (what == kind::unknown && heard == hearing::withheld);
    return speaks && (heard == hearing::unheard || heard == hearing::withheld);
}

bool message_record::is_summary() const noexcept {
    return info.summary || info.mode == wire::mode_compaction;
}

namespace {

/// Bytes of a prompt that are kept, to know a copy of it by.
constexpr std::size_t longest_beginning = 1024;

bool is_space(char c) noexcept {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

std::size_t ink_in(std::string_view text) noexcept {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return !is_space(c); }));
}

bool continues_a_character(char c) noexcept {
    return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

} // namespace

bool part_record::goes_on_in(std::string_view whole) const noexcept {
    return whole.size() >= delivered.text && whole.substr(dropped.bytes, delivered_of_kept()) ==
                                                 std::string_view(text).substr(0, delivered_of_kept());
}

bool part_record::is_but_for_space(std::string_view whole) const noexcept {
    auto from = whole.begin();
    for (auto skip = dropped.ink; skip > 0; --skip) {
        from = std::find_if_not(from, whole.end(), is_space);
        if (from == whole.end())
            return false;
        ++from;
    }
    for (const char c : text) {
        if (is_space(c))
            continue;
        from = std::find_if_not(from, whole.end(), is_space);
        if (from == whole.end() || *from != c)
            return false;
        ++from;
    }
    return std::all_of(from, whole.end(), is_space);
}

// Never in the middle of a character.
void part_record::drop_delivered(std::size_t bytes) {
    const auto most = delivered_of_kept();
    bytes = std::min(bytes, most);
    while (bytes < most && continues_a_character(text[bytes]))
        ++bytes;
    dropped.bytes += bytes;
    if (heard != hearing::ended) // else it is compared with nothing any more
        dropped.ink += ink_in(std::string_view(text).substr(0, bytes));
    std::string(text, bytes).swap(text); // with its memory
}

std::string part_record::take_all_but(std::size_t bytes) {
    auto all = std::exchange(text, {});
    auto cut = all.size() - std::min(bytes, all.size());
    while (cut < all.size() && continues_a_character(all[cut]))
        ++cut;
    text.assign(all, cut);
    dropped.bytes += cut;
    if (heard != hearing::ended)
        dropped.ink += ink_in(std::string_view(all).substr(0, cut));
    return all;
}

void part_record::forget_undelivered() {
    std::string(text, 0, delivered_of_kept()).swap(text);
    if (heard != hearing::abandoned)
        heard = hearing::withheld;
}

void part_record::begin_anew() {
    delivered = {};
    if (dropped.bytes == 0)
        return;
    text = {}; // a snapshot has it
    dropped = {};
    if (heard != hearing::abandoned && heard != hearing::withheld)
        heard = hearing::unheard;
}

part_record* message_record::find_part(std::string_view id) {
    // A snapshot goes through them in order.
    if (next_part < parts.size() && parts[next_part].id == id)
        return &parts[next_part++];
    if (next_part > 0 && next_part <= parts.size() && parts[next_part - 1].id == id)
        return &parts[next_part - 1];
    // The part that is being written is nearly always the last.
    for (std::size_t i = parts.size(); i-- > 0;)
        if (parts[i].id == id) {
            next_part = i + 1;
            return &parts[i];
        }
    return nullptr;
}

part_record& message_record::part(std::string_view id) {
    if (auto* p = find_part(id))
        return *p;
    parts.emplace_back();
    parts.back().id = id;
    next_part = parts.size();
    return parts.back();
}

void message_record::arrange_as(const std::vector<opencode::part>& order) {
    next_part = 0;
    std::unordered_map<std::string_view, std::size_t> places;
    std::vector<part_record> arranged;
    for (const auto& p : order) {
        if (!places.emplace(p.id, arranged.size()).second)
            continue; // listed twice
        arranged.emplace_back();
        arranged.back().id = p.id;
    }
    std::vector<part_record> others;
    for (auto& p : parts) {
        const auto place = places.find(p.id);
        (place == places.end() ? others.emplace_back() : arranged[place->second]) = std::move(p);
    }
    std::move(others.begin(), others.end(), std::back_inserter(arranged));
    parts = std::move(arranged);
}

namespace {

std::unique_ptr<message_record> message_of(std::string_view id) {
    auto m = std::make_unique<message_record>();
    m->info.id = id;
    return m;
}

} // namespace

message_record* transcript::find(std::string_view id) const {
    const auto found = by_id_.find(std::string(id));
    return found == by_id_.end() ? nullptr : found->second;
}

void transcript::number_from(std::size_t at) {
    for (std::size_t i = at; i < order_.size(); ++i)
        order_[i]->index = i;
}

message_record& transcript::insert(std::size_t at, std::unique_ptr<message_record> m) {
    auto& record = *m;
    order_.insert(order_.begin() + static_cast<std::ptrdiff_t>(at), std::move(m));
    number_from(at);
    by_id_.emplace(record.info.id, &record);
    return record;
}

std::unique_ptr<message_record> transcript::take_out(std::size_t at) {
    auto m = std::move(order_[at]);
    by_id_.erase(m->info.id);
    order_.erase(order_.begin() + static_cast<std::ptrdiff_t>(at));
    number_from(at);
    return m;
}

message_record& transcript::append(std::string_view id) {
    if (auto* m = find(id))
        return *m;
    return insert(order_.size(), message_of(id));
}

message_record& transcript::place(std::string_view id, std::int64_t created_ms) {
    auto* heard = find(id);
    if (heard && heard->known != 0)
        return *heard;
    // Where one belongs of which only parts were heard was not known.
    auto m = heard ? take_out(heard->index) : message_of(id);
    // An old one whose end alone was heard may stand behind later ones.
    const auto later = std::find_if(order_.begin(), order_.end(), [&](const auto& each) {
        return each->known != 0 && each->info.created_ms > created_ms;
    });
    return insert(static_cast<std::size_t>(later - order_.begin()), std::move(m));
}

void transcript::erase(std::string_view id) {
    if (auto* m = find(id))
        take_out(m->index);
}

void transcript::keep(const std::set<std::string>& ids) {
    const auto is_gone = [&](const std::string& id) {
        return !ids.contains(id);
    };
    std::erase_if(by_id_, [&](const auto& each) { return is_gone(each.first); });
    std::erase_if(order_, [&](const auto& m) { return is_gone(m->info.id); });
    number_from(0);
}

message_record* transcript::last_answer(std::string_view owner) const {
    for (auto m = order_.rbegin(); m != order_.rend(); ++m)
        if ((*m)->answers() && (*m)->owner == owner)
            return m->get();
    return nullptr;
}

message_record* transcript::last_own_answer(std::string_view owner) const {
    for (auto m = order_.rbegin(); m != order_.rend(); ++m)
        if ((*m)->answers() && !(*m)->is_summary() && (*m)->owner == owner)
            return m->get();
    return nullptr;
}

const message_record* transcript::last_answer_of_all() const {
    const auto last =
        std::find_if(order_.rbegin(), order_.rend(), [](const auto& m) { return m->answers(); });
    return last == order_.rend() ? nullptr : last->get();
}

std::string transcript::last_prompt_before(const message_record& m) const {
    for (std::size_t i = m.index; i-- > 0;)
        if (order_[i]->kind == user_kind::prompt)
            return order_[i]->owner;
    return {};
}

/// The compaction after which the server has not gone on yet, as far as the messages before this one tell.
/// After a compaction of its own making it always goes on, by a user message of its own.
const message_record* transcript::awaited_compaction(const message_record& before) const {
    for (std::size_t i = before.index; i-- > 0;) {
        const auto& m = *order_[i];
        if (m.kind == user_kind::continuation)
            return nullptr;
        if (!m.answers())
            continue;
        if (!m.is_summary() || !m.info.finished() || m.info.error)
            return nullptr;
        return own_compaction_of(m);
    }
    return nullptr;
}

/// After an overflow the server goes on by a copy of the prompt. What is no text is described by one there,
/// so only two different texts prove that a message is not a copy.
bool transcript::replays(const message_record& m, const std::string& owner) const {
    const auto* prompt = find(owner);
    return !prompt || !prompt->first || !m.first || prompt->first == m.first;
}

void transcript::classify(message_record& m, const part& first, bool may_wake) const {
    m.parted = true;
    if (first.type == wire::part::text)
        m.first = first_text{first.text.substr(0, longest_beginning), first.text.size(),
                             std::hash<std::string>()(first.text)};
    if (m.kind != user_kind::unclassed)
        return;
    if (first.type == wire::part::compaction) {
        m.kind = user_kind::compaction;
        m.automatic = first.automatic;
        m.owner = last_prompt_before(m);
        return;
    }
    if (first.synthetic && first.text.starts_with(wire::shell_text)) {
        m.kind = user_kind::shell;
        return;
    }
    const auto* compaction = awaited_compaction(m);
    const auto owner = compaction ? compaction->owner : last_prompt_before(m);
    const bool wakes = may_wake && owner.empty();
    const bool goes_on = compaction ? first.synthetic || replays(m, owner) : first.synthetic && !wakes;
    m.kind = goes_on ? user_kind::continuation : user_kind::prompt;
    if (goes_on)
        m.owner = owner;
}

void transcript::own_again(message_record& m) const {
    if (m.owner.empty() && (m.kind == user_kind::continuation || m.kind == user_kind::compaction))
        m.owner = last_prompt_before(m);
}

const message_record* transcript::own_compaction_of(const message_record& summary) const {
    const auto* asked = find(summary.info.parent_id);
    return asked && asked->automatic ? asked : nullptr;
}

bool transcript::compacted_between(const message_record& a, const message_record& b) const {
    for (std::size_t i = a.index + 1; i < b.index; ++i)
        if (order_[i]->kind == user_kind::compaction)
            return true;
    return false;
}

bool transcript::has_later_prompt(const message_record& prompt) const {
    return std::any_of(
        order_.begin() + static_cast<std::ptrdiff_t>(prompt.index), order_.end(),
        [&](const auto& m) { return m->kind == user_kind::prompt && m->index > prompt.index; });
}

} // namespace holdfast::opencode::ledger
