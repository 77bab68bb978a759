"""What a board's columns mean, in words; once at the end of each file."""

from __future__ import annotations

from bench.leaderboard.selection import SelectionRule


def write_introduction(rule: SelectionRule) -> str:
    """What ranks, in a sentence or two under the title."""
    first = f"Ranked by accuracy on clean test images at **{rule.words}**."
    if rule.oracle:
        return f"{first} Nobody could have stopped there without clean test labels: read this board as an upper bound."
    if rule.name == "holdout":
        return f"{first} Only noisy labels were looked at to choose it, so anybody could have stopped there too."
    shared = "Every row met the same images, noisy labels, first weights, batches and crops."
    return f"{first} No clean label had a say in that choice. {shared}"


def write_legend(rule: SelectionRule, equal_compute: bool = False) -> str:
    """How to read the tables, as Markdown; with a paragraph on tables at equal compute where there are some."""
    return _legend(rule) + (EQUAL_COMPUTE if equal_compute else "")


EQUAL_COMPUTE = """
*At equal compute* asks who does best with as much work as the dearest method does, or with what was typed. Every
method may spend the same **units / run** (the units above, times the epochs) on **epochs** of training and on
**members**: copies of it that are trained apart, whose mean prediction counts. Both are chosen by accuracy on the
**noisy hold-out** (± its standard error), never on the test set; **unused** is the share of the allowance that the
choice leaves, since more of either doesn't always help. **tried** counts the candidates, and **search** is what all
of them cost together, one run of each: nobody gets the choice for the units of the chosen runs alone.
"""


def _legend(rule: SelectionRule) -> str:
    return f"""## How to read this

One table holds one *setting*: everything is equal in it but the method and what the protocol lets it choose.
Means and ranks never cross settings. Everything is in percent unless it says otherwise.

- **#** is the rank by mean accuracy among methods that were told nothing but noisy labels. Equal means share a
  rank (`2=`).
- **method** comes with its parameters as they were resolved. A *control* is there to show what a gain is made
  of: an ensemble, a strong view, a weight average or early stopping without any care for noise. The row `ce @
  noisy hold-out epoch` is read off the runs of `ce` at the epoch that does best on noisy held-out labels; as it
  is chosen by a rule of its own, it has no rank.
- **accuracy** is the mean ± the sample standard deviation over n replicates, at {rule.words}. A replicate is a
  triple of seeds (noise, split, training), the same list for every row.
- **95 % interval** is where Student's t places the mean. Its width is about how much *one* row would move with
  new seeds.
- **to leader** is the mean difference to the leader, replicate by replicate, with its 95 % interval. Replicates
  that are hard for one method are hard for all, so this says more than two intervals side by side.
- **Bold** rows may be the best: their difference to the leader isn't significantly below 0 (one-sided paired
  t-tests, Holm-corrected at 5 %). A large set means that the data can't tell, not that its members are equally
  good. With fewer than 5 replicates nothing is bold.
- **best on test (oracle)** is the mean of each run's best epoch on the clean test set, as most papers report
  it. Nobody without clean labels could have picked it. The **gap** is how much it flatters, in points.
- **memorised** is the share of wrongly labelled training images that end up predicted as their wrong label;
  **learnt** the share of rightly labelled ones that are predicted right. Fitting noise shows as a high first,
  underfitting as a low second.
- **worst class** is the accuracy on the class that fares worst, averaged over replicates.
- **single nets**: where a method trains several networks, the mean accuracy of each alone and, in brackets, how
  far the best and the worst of a run lie apart. **accuracy** is that of the method's own prediction.
- **nets / views / units**: networks that are trained, views of an image in a step, and passes per image and
  epoch, where a forward pass counts 1 and a backward pass 2 (plain cross-entropy: 1 / 1 / 3). Phases beyond the
  epochs of the setting count on top. **s / run** is the time of one whole run on the machine that ran it.
- **told** names what a method was given beyond noisy labels (transition matrix, noise rate, kind of noise,
  clean labels). Such rows stand under a heading of their own and have no rank. **assumes** names what has to
  hold for it to be sound.
- **shared** in a heading: learning rate and weight decay (or a method's own penalty in its place) were chosen for
  each method from one grid for all, by noisy held-out labels on seeds that no board shows. **shared-lr**: every
  method uses the data set's, whatever the scale of its loss; a method that trails there may only need another
  step size. Where a board has both, **against shared-lr** is how many places up or down a row went among those
  that both rank, if more than three. **paper** stands for each method's own published training settings.
- *tuned* among what a row was told is effort rather than knowledge: a study of so many trials chose its values,
  which rows without the mark weren't given. Such rows have no rank either.

*Who finds the wrong labels* judges each row, at the last epoch, by what it makes of its training set. *Its own*
names what the method says itself; where it says nothing, what anybody could read off its network stands in.

- **AUROC** is the chance that a wrong label looks more suspicious than a right one (50: a coin's), by the
  method's own probability that a label is right (*estimate*), or else by the loss. It ranks; bold as above.
  **average precision** is that of finding the wrong labels from the most suspicious down. **in noisy classes**
  leaves out samples whose given label is a class that neither gives nor gets wrong labels.
- **precision** is the share of kept samples whose label is right, **recall** the share of right labels that are
  kept: of the method's own *set*, or else of as many least suspicious samples as there are right labels (then
  both are equal).
- **corrected** is the share of wrong labels that the method's soft targets (*targets*), or else its prediction,
  put right; **damaged** the share of right labels that they put wrong.

*What accuracy costs* lists, from the cheapest up, the ranked rows that no row of at most their **units** (see
above) matches; for every other row there is one that is as good for as little. **over the row above** is the
paired difference with its interval. **forward + backward** splits the units into passes; **TFLOP / run** is
10^12 operations in matrix products over a whole run's training. Of the machine that ran it, **images / s** are the
training set's images that went by in a second of training, and **MiB** is the most memory that a run took: on a card
its tensors, else the whole process, which may have had other runs before.
"""
