//! The trainer: one batch, one step.

use coverslip_numerics::there_is;

use super::active::{Active, batch_bar, largest};
use super::adam::{self, Pace};
use super::backward::gradient;
use super::evaluation::Moments;
use super::forward::Sae;
use super::gradient::{Batch, Gradient};
use super::median::geometric_median;
use super::resampling::resample;
use super::settings::{Objective, Settings};

/// Weight of a batch in `BatchTopK`'s running threshold.
const THRESHOLD_WEIGHT: f32 = 0.01;

/// Rows that the encoder's length at the beginning is fitted on.
const FITTED: usize = 1024;

/// Copies of both matrices of weights at once: the weights, two moments, a gradient, and two results.
const COPIES: usize = 6;

/// An autoencoder in training.
#[derive(Clone, Debug, PartialEq)]
pub struct Trainer {
    settings: Settings,
    state: TrainerState,
}

/// Everything that a run needs to go on, but for its settings and its data.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainerState {
    /// The weights, in the trainer's units.
    pub sae: Sae,
    /// First and second moments of `w_enc`, `b_enc`, `w_dec`, `b_dec`, ln `threshold`.
    pub moments: [(Vec<f32>, Vec<f32>); 5],
    /// Rows since each feature was last active.
    pub idle: Vec<u64>,
    /// Steps taken.
    pub step: u64,
    /// Factor from embeddings to the trainer's units.
    pub scale: f32,
}

/// The figures of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepFigures {
    /// The loss with all its penalties, per value of x. If it is NaN or infinite, the run has diverged.
    pub loss: f64,
    /// ‖x̂−x‖² over the batch, over the training data's mean ‖x−x̄‖².
    pub fvu: f64,
    /// Active features per row.
    pub l0: f64,
    /// Features that were not active for `dead_after` rows.
    pub dead: usize,
    /// Dead features that were re-initialised.
    pub resampled: usize,
}

impl Trainer {
    /// A new run. `sample`: rows of the training data, which give the scale and the start of `b_dec`.
    ///
    /// # Errors
    /// Says so when the sample has no variance, the settings ask for more active features than there are, or there is no
    /// memory for a run.
    pub fn new(settings: Settings, sample: &[f32], width: usize) -> Result<Self, String> {
        if let Some(k) = settings.objective.k()
            && !(1..=settings.features).contains(&k)
        {
            return Err(format!("expected k from 1 to the {} features, found {k}", settings.features));
        }
        expect_room(settings.features, width)?;
        let mut moments = Moments::new(width);
        moments.add(sample);
        let deviation = moments.deviation();
        // The second test catches identical rows, of which rounding leaves a small deviation.
        let size: f64 = moments.mean().iter().map(|mean| mean * mean).sum();
        if !(deviation.is_finite() && deviation > 1e-12 * size && deviation > 0.0) {
            return Err(format!(
                "expected embeddings that differ from tile to tile, found a mean ||x - mean||^2 of {deviation:e} over {} \
                 tiles; an SAE cannot be trained on one tile or on copies of one",
                moments.rows()
            ));
        }
        let scale = (width as f64 / deviation).sqrt() as f32;
        let scaled: Vec<f32> = sample.iter().map(|value| value * scale).collect();
        let mut sae = Sae::new(&settings, &geometric_median(&scaled, width));
        sae.fit_encoder(settings.objective, &scaled[..scaled.len().min(FITTED * width)]);
        let zeros = |len: usize| (vec![0.0; len], vec![0.0; len]);
        let m = settings.features;
        let moments = [m * width, m, m * width, width, m].map(zeros);
        let state = TrainerState { sae, moments, idle: vec![0; m], step: 0, scale };
        Ok(Self { settings, state })
    }

    /// A run that goes on from a checkpoint.
    ///
    /// # Errors
    /// Says so when the sizes do not fit the settings.
    pub fn resume(settings: Settings, state: TrainerState) -> Result<Self, String> {
        let (m, width) = (settings.features, state.sae.width);
        let sizes = [m * width, m, m * width, width, m];
        let found = [&state.sae.w_enc, &state.sae.b_enc, &state.sae.w_dec, &state.sae.b_dec, &state.sae.threshold];
        let whole = found.iter().zip(sizes).all(|(tensor, size)| tensor.len() == size)
            && state.moments.iter().zip(sizes).all(|((a, b), size)| a.len() == size && b.len() == size)
            && state.idle.len() == m
            && state.sae.features == m;
        if !whole {
            return Err(format!("expected a checkpoint of {m} features over {width} values, found other sizes"));
        }
        Ok(Self { settings, state })
    }

    /// The state that a checkpoint holds.
    pub fn state(&self) -> &TrainerState {
        &self.state
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The autoencoder in the units of the embeddings.
    pub fn sae(&self) -> Sae {
        self.state.sae.rescaled(1.0 / self.state.scale)
    }

    /// Trains on the rows of `batch` \[n, width\].
    pub fn step(&mut self, batch: &[f32]) -> StepFigures {
        let objective = self.settings.objective;
        let x: Vec<f32> = batch.iter().map(|value| value * self.state.scale).collect();
        let sae = &self.state.sae;
        let centred = sae.centred(&x);
        let p = sae.pre_activations(&centred);
        let active = sae.choose_in_training(objective, &p);
        let auxiliary = self.auxiliary(&p);
        let lambda = self.lambda();
        let batch = Batch {
            sae,
            objective,
            x: &x,
            centred: &centred,
            p: &p,
            active: &active,
            auxiliary: auxiliary.as_ref().map(|(dead, weight)| (dead, *weight)),
            lambda,
        };
        let mut gradient = gradient(&batch);
        let rows = active.rows() as f64;
        let penalty = match objective {
            Objective::Relu { .. } => active.entries.iter().map(|entry| f64::from(entry.value)).sum(),
            Objective::JumpRelu { .. } => active.count() as f64,
            _ => 0.0,
        };
        let loss = gradient.reconstruction + gradient.auxiliary + f64::from(lambda) * penalty;
        self.update(&mut gradient);
        if let Some(k) = objective.of_batch() {
            self.follow_bar(batch_bar(&p, active.rows() * k));
        }
        self.count(&active);
        let dead = self.dead();
        let resampled = self.begin_again(&dead, &x, &centred, &active);
        self.state.step += 1;
        let values = rows * self.state.sae.width as f64;
        StepFigures {
            loss: loss / values,
            fvu: gradient.squared_error / values,
            l0: active.count() as f64 / rows,
            dead: dead.len(),
            resampled,
        }
    }

    /// Dead features that reconstruct what is left: d/2 of them per row at most, with less weight where there are fewer
    /// (Gao et al. 2024, appendix B.1).
    fn auxiliary(&self, p: &[f32]) -> Option<(Active, f32)> {
        if self.settings.auxiliary == 0.0 {
            return None;
        }
        let mut is_dead = vec![false; self.settings.features];
        let dead = self.dead();
        dead.iter().for_each(|feature| is_dead[*feature as usize] = true);
        let most = (self.state.sae.width / 2).max(1);
        let weight = self.settings.auxiliary * (dead.len() as f32 / most as f32).min(1.0);
        let choose = |row: &[f32]| largest(row, most.min(dead.len()), |feature| is_dead[feature]);
        (!dead.is_empty()).then(|| (self.state.sae.choose_rows(p, choose), weight))
    }

    fn lambda(&self) -> f32 {
        match self.settings.objective {
            Objective::Relu { l1 } => l1 * self.settings.sparsity(self.state.step),
            Objective::JumpRelu { l0, .. } => l0 * self.settings.sparsity(self.state.step),
            _ => 0.0,
        }
    }

    fn update(&mut self, gradient: &mut Gradient) {
        let TrainerState { sae, moments, step, .. } = &mut self.state;
        let width = sae.width;
        if self.settings.frozen_decoder {
            gradient.w_dec.fill(0.0);
        }
        adam::keep_tangent(width, &sae.w_dec, &mut gradient.w_dec);
        let Gradient { w_enc, b_enc, w_dec, b_dec, log_threshold: by_threshold, .. } = gradient;
        let factor = adam::clip(self.settings.clip, [w_enc, b_enc, w_dec, b_dec, by_threshold]);
        let pace = Pace::new(self.settings.rate(*step), *step, factor);
        let mut log_threshold: Vec<f32> = match by_threshold.is_empty() {
            true => Vec::new(),
            false => sae.threshold.iter().map(|threshold| threshold.ln()).collect(),
        };
        let tensors = [
            (&mut sae.w_enc, w_enc, width, false),
            (&mut sae.b_enc, b_enc, 1, false),
            (&mut sae.w_dec, w_dec, width, true),
            (&mut sae.b_dec, b_dec, 1, false),
            (&mut log_threshold, by_threshold, 1, false),
        ];
        for ((values, gradient, width, unit), (first, second)) in tensors.into_iter().zip(moments) {
            // Without thresholds to train there are moments, but no values.
            let (first, second) = (&mut first[..values.len()], &mut second[..values.len()]);
            adam::step(pace, width, unit, values, gradient, (first, second));
        }
        sae.threshold.iter_mut().zip(&log_threshold).for_each(|(out, log)| *out = log.exp());
    }

    /// One threshold for all features: the running mean of the batches' bars.
    fn follow_bar(&mut self, bar: f32) {
        let before = self.state.sae.threshold.first().copied().unwrap_or(0.0);
        let now = if self.state.step == 0 { bar } else { before + THRESHOLD_WEIGHT * (bar - before) };
        self.state.sae.threshold.fill(now);
    }

    fn count(&mut self, active: &Active) {
        let rows = active.rows() as u64;
        self.state.idle.iter_mut().for_each(|idle| *idle += rows);
        active.entries.iter().for_each(|entry| self.state.idle[entry.feature as usize] = 0);
    }

    fn dead(&self) -> Vec<u32> {
        let idle = self.state.idle.iter().enumerate();
        idle.filter(|(_, idle)| **idle >= self.settings.dead_after).map(|(feature, _)| feature as u32).collect()
    }

    /// Resamples at its steps, but not while the step size falls: there is no time left to learn.
    fn begin_again(&mut self, dead: &[u32], x: &[f32], centred: &[f32], active: &Active) -> usize {
        let step = self.state.step + 1;
        let every = self.settings.resample_every;
        if every == 0 || !step.is_multiple_of(every) || step + self.settings.decay >= self.settings.steps {
            return 0;
        }
        let threshold = match self.settings.objective {
            Objective::JumpRelu { bandwidth, .. } => bandwidth,
            _ => 0.0,
        };
        let TrainerState { sae, moments, idle, .. } = &mut self.state;
        let width = sae.width;
        let given = resample(sae, dead, x, centred, active, threshold, self.settings.seed.wrapping_add(step));
        for feature in &given {
            let feature = *feature as usize;
            idle[feature] = 0;
            for ((first, second), width) in moments.iter_mut().zip([width, 1, width, 0, 1]) {
                first[feature * width..][..width].fill(0.0);
                second[feature * width..][..width].fill(0.0);
            }
        }
        given.len()
    }
}

/// Asks for what a run takes: its weights in their copies, and what every feature is on the rows that the encoder is fitted on.
fn expect_room(features: usize, width: usize) -> Result<(), String> {
    let row = width.saturating_mul(2 * COPIES).saturating_add(2 * FITTED);
    let bytes = features.saturating_mul(row).saturating_mul(size_of::<f32>());
    if there_is(bytes as u64) {
        return Ok(());
    }
    Err(format!(
        "no memory for an SAE of {features} features for embeddings of {width} values, which takes {bytes} bytes; train fewer features"
    ))
}
