#include <holdfast/opencode/ledger/kept_text.hpp>

#include <holdfast/opencode/ledger/narrator.hpp>

#include <algorithm>

namespace holdfast::opencode::ledger {

/// Somebody prompted it here, or took it up, and gets all of its text at its end.
bool kept_text::keeps_all(const turn_facts& t) const {
    return t.from == turn_facts::origin::ours && audience_.has(t.id);
}

bool kept_text::keeps_all(const message_record& m) const {
    const auto* t = m.answers() ? ledger_.find_turn(m.owner) : nullptr;
    return t && keeps_all(*t);
}

template <class Part>
void kept_text::each_bounded_part(Part take) {
    for (const auto& m : ledger_.said().in_order())
        if (!m->parts.empty() && !keeps_all(*m))
            for (auto& p : m->parts)
                take(p);
}

void kept_text::drop_delivered_before(const part_record& last) {
    bool is_before = true;
    each_bounded_part([&](part_record& p) {
        is_before = is_before && &p != &last;
        if (is_before)
            p.drop_delivered(p.text.size());
    });
}

std::string kept_text::take_undelivered(const turn_facts& t, part_record& p) {
    const auto from = p.delivered_of_kept();
    p.delivered.text = p.size();
    // More than is kept, and nothing of it was delivered: it need not be copied.
    if (from == 0 && !keeps_all(t) && most_ != 0 && p.text.size() > most_) {
        drop_delivered_before(p); // what is kept has no hole
        return p.take_all_but(enough());
    }
    return p.text.substr(from);
}

/// Only where it is not enough to drop what was delivered, what was not goes too: it is then as though it
/// were still to be heard.
void kept_text::bound() {
    since_ += ledger_.take_text_merged();
    if (most_ == 0 || counted_ + since_ <= most_)
        return;
    std::size_t total = 0;
    each_bounded_part([&](const part_record& p) { total += p.text.size(); });
    auto excess = total > most_ ? total - enough() : 0;
    const auto spare = [&](part_record& p, auto drop) {
        const auto before = p.text.size();
        if (excess == 0 || before == 0)
            return;
        drop(p);
        const auto gone = before - p.text.size();
        total -= gone;
        excess -= std::min(excess, gone);
    };
    each_bounded_part([&](part_record& p) { spare(p, [&](part_record& it) { it.drop_delivered(excess); }); });
    each_bounded_part([&](part_record& p) { spare(p, [](part_record& it) { it.forget_undelivered(); }); });
    counted_ = total;
    since_ = 0;
}

} // namespace holdfast::opencode::ledger
