//! What counts can be read from: SAE features and, beside them, what these have to beat.

use coverslip_analysis::counts::Groups;
use coverslip_analysis::pca::Pca;
use coverslip_analysis::select;
use faer::Mat;

use super::Failure;
use super::study::Study;
use crate::findings::reading::ColumnKind;

/// Principal components, at most.
const COMPONENTS: usize = 32;

/// Columns of numbers, a value per tile.
#[derive(Debug, Clone)]
pub(super) struct Representation {
    pub(super) kind: ColumnKind,
    /// The columns' names.
    pub(super) columns: Vec<String>,
    /// \[tiles, columns\]
    pub(super) values: Mat<f64>,
    /// In how many groups each column is not 0.
    pub(super) groups_firing: Vec<usize>,
}

impl Representation {
    pub(super) fn new(kind: ColumnKind, columns: Vec<String>, values: Mat<f64>, groups: &Groups) -> Representation {
        let fires = |column: usize, rows: &[usize]| rows.iter().any(|&row| values[(row, column)] != 0.0);
        let firing = |column| groups.rows().iter().filter(|rows| fires(column, rows)).count();
        let groups_firing = (0..values.ncols()).map(firing).collect();
        Representation { kind, columns, values, groups_firing }
    }

    /// Everything that a study has of its tiles: features and colour where the file has them, and the embedding `tap`.
    /// Principal components see no counts and are fitted on all tiles.
    ///
    /// # Errors
    /// When the file cannot be read, or all embeddings are the same.
    pub(super) fn all(study: &Study, tap: &str) -> Result<Vec<Representation>, Failure> {
        let mut all = Vec::new();
        if let Some(features) = study.features()? {
            let names = features.index.iter().map(usize::to_string).collect();
            all.push(Self::new(ColumnKind::Feature, names, features.values, &study.groups));
        }
        all.extend(Self::dense(study, tap)?);
        if let Some(colour) = study.colour()? {
            let names = ["red", "green", "blue"].map(str::to_owned).to_vec();
            all.push(Self::new(ColumnKind::Colour, names, colour, &study.groups));
        }
        Ok(all)
    }

    /// The embedding's dimensions and their principal components.
    ///
    /// # Errors
    /// As [`Representation::all`].
    pub(super) fn dense(study: &Study, tap: &str) -> Result<[Representation; 2], Failure> {
        let embedding = study.embedding(tap)?;
        let pca = Pca::fit(embedding.as_ref(), COMPONENTS)?;
        let components = pca.project(embedding.as_ref());
        let numbered = |count: usize| (0..count).map(|i| i.to_string()).collect();
        Ok([
            Self::new(ColumnKind::Dimension, numbered(embedding.ncols()), embedding, &study.groups),
            Self::new(ColumnKind::Component, numbered(components.ncols()), components, &study.groups),
        ])
    }

    /// Only the columns that fire in at least `least` groups.
    pub(super) fn firing_in(&self, least: usize) -> Representation {
        let kept: Vec<usize> = (0..self.columns.len()).filter(|&column| self.groups_firing[column] >= least).collect();
        Representation {
            kind: self.kind,
            columns: kept.iter().map(|&column| self.columns[column].clone()).collect(),
            values: Mat::from_fn(self.values.nrows(), kept.len(), |row, column| self.values[(row, kept[column])]),
            groups_firing: kept.iter().map(|&column| self.groups_firing[column]).collect(),
        }
    }

    /// In how many groups of each fold each column fires.
    pub(super) fn firing_by_fold(&self, groups: &Groups, folds: &[usize]) -> Vec<Vec<usize>> {
        let count = folds.iter().max().map_or(0, |last| last + 1);
        let mut firing = vec![vec![0; self.columns.len()]; count];
        for rows in groups.rows() {
            let fold = &mut firing[folds[rows[0]]];
            for (column, place) in fold.iter_mut().enumerate() {
                *place += usize::from(rows.iter().any(|&row| self.values[(row, column)] != 0.0));
            }
        }
        firing
    }

    /// The same columns of some tiles.
    pub(super) fn rows(&self, rows: &[usize]) -> Mat<f64> {
        select(self.values.as_ref(), rows)
    }

    /// One column.
    pub(super) fn column(&self, column: usize) -> Vec<f64> {
        self.values.col(column).iter().copied().collect()
    }
}
